/* Preloaded into a process: adds an offset to the time of day and to the times of files.

The clock that counts since the start of the machine stays, so waiting takes as long as ever. The offset,
in seconds, is the int64 in the file MOVED_CLOCK, so it can change while processes run. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t none = 0;
static volatile const int64_t *offset = &none;

__attribute__((constructor)) static void find_offset(void)
{
    const char *path = getenv("MOVED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        offset = mapped;
    if (file >= 0)
        close(file);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
/* Calls the C library's function, looked up once. */
#define CALL(name, ...)                      \
    ({                                       \
        static __typeof__(&name) known;      \
        if (!known)                          \
            known = REAL(name);              \
        known(__VA_ARGS__);                  \
    })

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int failed = CALL(clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    int failed = CALL(gettimeofday, at, zone);
    if (!failed)
        at->tv_sec += *offset;
    return failed;
}

time_t time(time_t *at)
{
    time_t now = CALL(time, NULL) + *offset;
    if (at)
        *at = now;
    return now;
}

static int moved(int failed, struct stat64 *of)
{
    if (!failed) {
        of->st_atim.tv_sec += *offset;
        of->st_mtim.tv_sec += *offset;
        of->st_ctim.tv_sec += *offset;
    }
    return failed;
}

int stat64(const char *restrict path, struct stat64 *restrict of) { return moved(CALL(stat64, path, of), of); }
int lstat64(const char *restrict path, struct stat64 *restrict of) { return moved(CALL(lstat64, path, of), of); }
int fstat64(int file, struct stat64 *of) { return moved(CALL(fstat64, file, of), of); }
int fstatat64(int folder, const char *restrict path, struct stat64 *restrict of, int flags)
{
    return moved(CALL(fstatat64, folder, path, of, flags), of);
}

/* The real moment of a deadline; one on the clock that stays is far below a billion seconds. */
static const struct timespec *real(const struct timespec *until, struct timespec *space)
{
    if (!until || until->tv_sec < 1000000000)
        return until;
    *space = *until;
    space->tv_sec -= *offset;
    return space;
}

int pthread_cond_timedwait(pthread_cond_t *restrict it, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until)
{
    static __typeof__(&pthread_cond_timedwait) known;
    struct timespec space;
    if (!known) /* the one with the clock of pthread_condattr_setclock */
        known = (__typeof__(known))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    return known(it, lock, real(until, &space));
}

int sem_timedwait(sem_t *restrict it, const struct timespec *restrict until)
{
    struct timespec space;
    return CALL(sem_timedwait, it, real(until, &space));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict lock, const struct timespec *restrict until)
{
    struct timespec space;
    return CALL(pthread_mutex_timedlock, lock, real(until, &space));
}

long syscall(long number, ...) /* for the waiting of gRPC */
{
    long word[6];
    struct timespec space;
    va_list words;
    va_start(words, number);
    for (int i = 0; i < 6; i++)
        word[i] = va_arg(words, long);
    va_end(words);
    if (number == SYS_futex && (word[1] & FUTEX_CLOCK_REALTIME))
        word[3] = (long)real((const struct timespec *)word[3], &space);
    return CALL(syscall, number, word[0], word[1], word[2], word[3], word[4], word[5]);
}
