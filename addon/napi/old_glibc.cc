// What the addon and its static C++ runtime would ask of a GLIBC newer than 2.28, without it: one
// prebuilt addon loads on every distribution since then. The symbols are hidden, and nobody else's.
// test/package.test.ts reads from the result which versions are asked for.
#include <features.h>

#if defined(__GLIBC__) && defined(__x86_64__)

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

struct stat64;

extern "C" {

// GLIBC 2.33 made functions of these; they were inline before.
int fstat64(int fd, struct stat64* to) { return static_cast<int>(syscall(SYS_fstat, fd, to)); }
int stat64(const char* path, struct stat64* to) {
  return static_cast<int>(syscall(SYS_stat, path, to));
}
int lstat64(const char* path, struct stat64* to) {
  return static_cast<int>(syscall(SYS_lstat, path, to));
}

// GLIBC 2.36; for std::random_device, which nothing here uses.
uint32_t arc4random() {
  uint32_t value = 0;
  while (getrandom(&value, sizeof value, 0) != sizeof value) {
  }
  return value;
}

// GLIBC 2.32; "there may be other threads" is always true.
char __libc_single_threaded = 0;

// GLIBC 2.35; the unwinder takes a failure for the end of the stack, and nothing here is thrown.
int _dl_find_object(void*, void*) { return -1; }

// These moved from libpthread to libc with a new version, and are what they were.
int waep_pthread_once(pthread_once_t*, void (*)());
int waep_pthread_key_create(pthread_key_t*, void (*)(void*));
int waep_pthread_sigmask(int, const sigset_t*, sigset_t*);
__asm__(".symver waep_pthread_once, pthread_once@GLIBC_2.2.5");
__asm__(".symver waep_pthread_key_create, __pthread_key_create@GLIBC_2.2.5");
__asm__(".symver waep_pthread_sigmask, pthread_sigmask@GLIBC_2.2.5");

int pthread_once(pthread_once_t* once, void (*run)()) { return waep_pthread_once(once, run); }
int __pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) {
  return waep_pthread_key_create(key, destroy);
}
int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) {
  return waep_pthread_sigmask(how, set, old);
}
}

#endif
