// SPDX-License-Identifier: MIT
// Lets one prebuilt addon load with every GLIBC since 2.28, and with musl: it replaces the
// functions that the addon and its static C++ runtime would need from a newer GLIBC, or from its
// loader. The symbols are hidden from others. For musl, binding.gyp also takes away
// _FILE_OFFSET_BITS, which on machines of 64 bits only gives functions other names.
// test/package.test.ts checks what the result needs.
#include <features.h>

#ifdef __GLIBC__

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

struct stat;

extern "C" {

// Functions since GLIBC 2.33; they were inline before.
int fstat(int fd, struct stat* to) { return static_cast<int>(syscall(SYS_fstat, fd, to)); }
int stat(const char* path, struct stat* to) {
  return static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, to, 0));
}
int lstat(const char* path, struct stat* to) {
  return static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW));
}

// New in GLIBC 2.32. 0 means that there may be other threads, which is always safe.
char __libc_single_threaded = 0;

// New in GLIBC 2.35. The unwinder takes a failure for the end of the stack. Nothing here throws.
int _dl_find_object(void*, void*) { return -1; }

// A later GLIBC moved these from libpthread to libc under a new version. They did not change.
#ifdef __x86_64__
#define FIRST_GLIBC "GLIBC_2.2.5"
#else
#define FIRST_GLIBC "GLIBC_2.17"
#endif
int waep_pthread_once(pthread_once_t*, void (*)());
int waep_pthread_key_create(pthread_key_t*, void (*)(void*));
int waep_pthread_sigmask(int, const sigset_t*, sigset_t*);
__asm__(".symver waep_pthread_once, pthread_once@" FIRST_GLIBC);
__asm__(".symver waep_pthread_key_create, pthread_key_create@" FIRST_GLIBC);
__asm__(".symver waep_pthread_sigmask, pthread_sigmask@" FIRST_GLIBC);

int pthread_once(pthread_once_t* once, void (*run)()) { return waep_pthread_once(once, run); }
// musl has this one under its public name only.
int __pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) {
  return waep_pthread_key_create(key, destroy);
}
int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) {
  return waep_pthread_sigmask(how, set, old);
}

// A strong reference to this function makes the linker ask for GLIBC's loader by name. musl has the
// function, and another loader. The linker calls the first for the second (--wrap).
__attribute__((weak)) void* __real___tls_get_addr(void*);
void* __wrap___tls_get_addr(void* index) { return __real___tls_get_addr(index); }
}

#endif
