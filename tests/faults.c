/* A disk that fails on demand: preloaded, it counts what SQLite does to one store's files, and at a chosen step ends
   the process, returns an error, or tears a write. It can also record every step, for a power cut to be played. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITE, TRUNCATE, SYNC, UNLINK, MARK };

static char watched[4096];
static int log_fd = -1;
static long n_steps, first_fault = -1, n_faults;
static int counted, fault_errno, is_torn;

void faults_watch(const char *path, int recording_to) {
    snprintf(watched, sizeof watched, "%s", path);
    log_fd = recording_to;
    n_steps = 0;
    first_fault = -1;
}

/* From step `first` on, among those whose bit 4 * file + step is in `mask`, `n` steps fail with `error`; 0 ends the
   process, and with `torn` it does half a write before. */
void faults_at(long first, long n, int mask, int error, int torn) {
    n_steps = 0;
    counted = mask;
    fault_errno = error;
    is_torn = torn;
    n_faults = n;
    first_fault = first;
}

long faults_steps(void) { return n_steps; }

/* 0 is the store, 1 its write-ahead log, 2 its journal. */
static int file_of(const char *path) {
    size_t length = strlen(watched);
    if (!length || strncmp(path, watched, length)) return -1;
    if (!path[length]) return 0;
    if (!strcmp(path + length, "-wal")) return 1;
    return strcmp(path + length, "-journal") ? -1 : 2;
}

static int file_of_descriptor(int fd) {
    char link[64], path[4096];
    if (!watched[0]) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    return file_of(path);
}

static void record(int32_t step, int32_t file, int64_t offset, int64_t length, const void *data) {
    if (log_fd < 0) return;
    struct { int32_t step, file; int64_t offset, length; } head = {step, file, offset, length};
    syscall(SYS_write, log_fd, &head, sizeof head);
    if (step == WRITE) syscall(SYS_write, log_fd, data, length);
}

void faults_mark(int64_t n) { record(MARK, -1, n, 0, NULL); }

static int fails(int step, int fd, int file, int64_t offset, int64_t length, const void *data) {
    if (file < 0) return 0;
    if (counted >> (4 * file + step) & 1) {
        long n = n_steps++;
        if (first_fault >= 0 && n >= first_fault && n - first_fault < n_faults) {
            if (fault_errno) {
                errno = fault_errno;
                return 1;
            }
            if (is_torn && step == WRITE) syscall(SYS_pwrite64, fd, data, length / 2, offset);
            _exit(9);
        }
    }
    record(step, file, offset, length, data);
    return 0;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    if (fails(WRITE, fd, file_of_descriptor(fd), offset, length, data)) return -1;
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

int ftruncate64(int fd, off64_t length) {
    if (fails(TRUNCATE, fd, file_of_descriptor(fd), 0, length, NULL)) return -1;
    return syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fdatasync(int fd) {
    if (fails(SYNC, fd, file_of_descriptor(fd), 0, 0, NULL)) return -1;
    return syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    if (fails(SYNC, fd, file_of_descriptor(fd), 0, 0, NULL)) return -1;
    return syscall(SYS_fsync, fd);
}

int unlink(const char *path) {
    if (fails(UNLINK, -1, file_of(path), 0, 0, NULL)) return -1;
    return syscall(SYS_unlinkat, -100, path, 0);
}
