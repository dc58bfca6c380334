"""Kernels compiled for 64-bit ARM, and run by an emulator: for machines that are none.

As a program it prints what it found as JSON. ``NUMBA_OPT=0`` has to be set, so that what numba hands over has not been
shaped for this machine's processor.
"""

import collections
import io
import json
import re
import sys

import llvmlite.binding as llvm
import numpy as np
import reference
import unicorn
from elftools.elf.elffile import ELFFile
from fakes import vectors_of
from numba import njit
from test_scan import KINDS, random_code, random_costs
from unicorn import arm64_const as registers

from binrag.kernels import project, scan
from binrag.kernels.scan import fill_distances, nearer_rows
from binrag.kernels.tables import NEON, PERMUTES

TRIPLE = "aarch64-unknown-linux-gnu"
LAYOUT = "e-m:e-i8:8:32-i16:16:32-i64:64-i128:128-n32:64-S128"
CODE, STACK, HEAP, PAGES = 0x1000000, 0x8000000, 0x10000000, 0x400000


def compiled(dispatcher):
    """Return target machine and module of the last signature that numba compiled, for ARM."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    text = list(dispatcher.inspect_llvm().values())[-1].replace(PERMUTES[16][1], NEON)
    assert "llvm.x86." not in text
    text = re.sub("target triple = .*", f'target triple = "{TRIPLE}"', text)
    text = re.sub("target datalayout = .*", f'target datalayout = "{LAYOUT}"', text)
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu="generic", opt=3, reloc="static", codemodel="small"
    )
    module = llvm.parse_assembly(text)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    return machine, module


def instructions(dispatcher):
    """Count the instructions by name."""
    machine, module = compiled(dispatcher)
    lines = (line.split() for line in machine.emit_assembly(module).splitlines() if line.startswith("\t"))
    return collections.Counter(line[0] for line in lines if line and not line[0].startswith("."))


def linked(data, memory):
    """Put an object's sections in memory; return the addresses of its functions."""
    elf = ELFFile(io.BytesIO(data))
    places, address = {}, CODE
    for i, section in enumerate(elf.iter_sections()):
        if section["sh_flags"] & 2 and section["sh_size"]:  # it is in memory when the program runs
            address = -(-address // 64) * 64
            places[i] = address
            memory.mem_write(
                address, section.data() if section["sh_type"] != "SHT_NOBITS" else bytes(section["sh_size"])
            )
            address += section["sh_size"]
    table = elf.get_section_by_name(".symtab")
    symbols = [(s.name, places.get(s["st_shndx"]), s["st_value"]) for s in table.iter_symbols()]
    for section in elf.iter_sections():
        if section["sh_type"] != "SHT_RELA" or section["sh_info"] not in places or "eh_frame" in section.name:
            continue
        for entry in section.iter_relocations():
            _, base, value = symbols[entry["r_info_sym"]]
            if base is not None:  # what is not defined is for errors only, and jumping to 0 stops the emulator
                at = places[section["sh_info"]] + entry["r_offset"]
                relocate(memory, entry["r_info_type"], at, base + value + entry["r_addend"])
    return {name: base + value for name, base, value in symbols if base is not None}


def relocate(memory, kind, at, target):
    """Write an address into an instruction; kinds are those of the ELF standard for this processor."""
    if kind == 257:  # ABS64
        memory.mem_write(at, target.to_bytes(8, "little"))
        return
    word = int.from_bytes(memory.mem_read(at, 4), "little")
    if kind == 275:  # ADR_PREL_PG_HI21
        pages = (target >> 12) - (at >> 12)
        word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    elif kind in (282, 283):  # JUMP26, CALL26
        word |= (target - at) // 4 & 0x3FFFFFF
    else:
        shift = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}[kind]  # ADD and LDST of 1, 2, 4, 8 and 16 bytes
        word |= (target & 0xFFF) >> shift << 10
    memory.mem_write(at, word.to_bytes(4, "little"))


def emulated(dispatcher):
    """Return a function that runs, on an emulated processor, what a dispatcher has compiled last.

    It takes contiguous arrays and integers, fills the arrays in, and returns the 64 bits that the function returns.
    """
    memory = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    for first in (CODE, STACK, HEAP):
        memory.mem_map(first, PAGES)
    machine, module = compiled(dispatcher)
    functions = linked(machine.emit_object(module), memory)
    (name,) = [
        f.name
        for f in module.functions
        if f.name in functions
        and not f.name.startswith(("cfunc.", "_ZN7cpython"))
        and "numba" not in f.name
        and f.name.startswith("_ZN")
    ]

    def call(*arguments):
        next_free = HEAP + 256
        values, arrays = [HEAP, HEAP + 64], []
        for value in arguments:
            if not isinstance(value, np.ndarray):
                values.append(int(value) & 2**64 - 1)
                continue
            next_free = -(-next_free // 64) * 64
            memory.mem_write(next_free, value.tobytes())
            arrays.append((next_free, value))
            values += [0, 0, value.size, value.itemsize, next_free, *value.shape, *value.strides]
            next_free += value.nbytes
        stack = STACK + PAGES // 2
        for i, value in enumerate(values):
            if i < 8:
                memory.reg_write(getattr(registers, f"UC_ARM64_REG_X{i}"), value)
            else:
                memory.mem_write(stack + 8 * (i - 8), value.to_bytes(8, "little"))
        end = CODE + PAGES - 4
        memory.reg_write(registers.UC_ARM64_REG_SP, stack)
        memory.reg_write(registers.UC_ARM64_REG_LR, end)
        memory.emu_start(functions[name], end)
        assert memory.reg_read(registers.UC_ARM64_REG_W0) == 0
        for address, value in arrays:
            value[...] = np.frombuffer(memory.mem_read(address, value.nbytes), value.dtype).reshape(value.shape)
        return int.from_bytes(memory.mem_read(HEAP, 8), "little")

    return call


def check_words(n_words):
    """Compare the comparison and the filling by words with the definition; return the masks and rows checked."""
    words, query = reference.random_words(64, n_words), reference.random_words(1, n_words)[0]
    distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int64)
    return check_groups(reference.grouped(words), query, distances, n_words, 0)


def check_tables(n_words):
    """The same by tables, for all kinds of costs."""
    n = 0
    for i, kind in enumerate(KINDS):
        code, costs = random_code(64, n_words, seed=i), random_costs(n_words, kind, seed=i)
        n += check_groups(reference.grouped(code), costs, reference.table_distances(code, costs), n_words, 16)
    return n


def check_groups(codes, query, distances, n_words, width):
    nearer = njit(lambda codes, group, query, limit: nearer_rows(codes, group, query, limit, n_words, width))
    fill = njit(lambda codes, group, query, filled: fill_distances(codes, group, query, filled, n_words, width))
    filled = np.zeros(16, dtype=np.uint16)
    nearer(codes, 0, query, np.uint64(1))
    fill(codes, 0, query, filled)
    nearer, fill = emulated(nearer), emulated(fill)
    n = 0
    for group, own in enumerate(distances.reshape(-1, 16)):
        fill(codes, group, query, filled)
        assert np.array_equal(filled, own)
        for limit in {0, 1, 65535, *own.tolist()}:
            assert nearer(codes, group, query, limit) == sum(1 << i for i, d in enumerate(own) if d < limit)
            n += 1
    return n


def check_products():
    """Compare the products with the definition, bit for bit; return how many numbers."""
    n = 0
    for m, d in ((1, 5), (33, 384), (17, 385)):
        matrix, vector, out = vectors_of(m, d), vectors_of(1, d, seed=1)[0], np.zeros(m, np.float32)
        dots = njit(project._fill_dots.py_func)
        dots(matrix, vector, out)
        emulated(dots)(matrix, vector, out)
        assert np.array_equal(out, reference.dots(matrix, vector))
        x, w, out = vectors_of(13, d), vectors_of(d, 16 + m, seed=2), np.zeros((13, 16 + m), np.float32)
        products = njit(project._products.py_func)
        products(x, w, out)
        emulated(products)(x, w, out)
        assert np.array_equal(out, reference.projected(x, w))
        n += m + out.size
    return n


def scans():
    """Count instructions of whole scans that matter: of words by their number, and by tables."""
    counts = {}
    scan.jit = njit(nogil=True)
    bitmap, one = np.ones(1, np.uint64), np.zeros((1, 1), np.int64)
    for n_words, width in ((1, 0), (6, 0), (16, 0), (64, 0), (6, 16)):
        kernel = scan.scan_kernel.__wrapped__(n_words, width)
        codes = np.zeros((4, 8 * n_words, 16), np.uint8) if width else np.zeros((4, n_words, 16), np.uint64)
        asked = np.zeros((1, 2, 8 * n_words, 16), np.uint8) if width else np.zeros((1, n_words), np.uint64)
        buffers = np.zeros((1, 65_536), np.int64), *(np.zeros((1, 4), np.int64) for _ in range(2)), one, one, one[0]
        kernel(codes, 0, 64, asked, bitmap, 1, *buffers)
        found = instructions(kernel)
        counts[f"{n_words} words{' by tables' * bool(width)}"] = {name: found[name] for name in ("cnt", "tbl")}
    return counts


def main():
    """Run all checks."""
    checked = {f"{n} words": check_words(n) for n in (1, 2, 6)}
    checked |= {f"{n} words by tables": check_tables(n) for n in (1, 2, 6)}
    sys.stdout.write(json.dumps({"checked": {**checked, "products": check_products()}, "scans": scans()}))


if __name__ == "__main__":
    main()
