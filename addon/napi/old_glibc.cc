// Replaces the functions that the addon and its static C++ runtime would need from a GLIBC newer
// than 2.28. So one prebuilt addon loads on every distribution since then. The symbols are hidden
// from others. test/package.test.ts checks which versions the result needs.
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

// Functions since GLIBC 2.33; they were inline before.
int fstat64(int fd, struct stat64* to) { return static_cast<int>(syscall(SYS_fstat, fd, to)); }
int stat64(const char* path, struct stat64* to) {
  return static_cast<int>(syscall(SYS_stat, path, to));
}
int lstat64(const char* path, struct stat64* to) {
  return static_cast<int>(syscall(SYS_lstat, path, to));
}

// New in GLIBC 2.36. Only std::random_device uses it, which nothing here uses.
uint32_t arc4random() {
  uint32_t value = 0;
  while (getrandom(&value, sizeof value, 0) != sizeof value) {
  }
  return value;
}

// New in GLIBC 2.32. 0 means that there may be other threads, which is always safe.
char __libc_single_threaded = 0;

// New in GLIBC 2.35. The unwinder takes a failure for the end of the stack. Nothing here throws.
int _dl_find_object(void*, void*) { return -1; }

// A later GLIBC moved these from libpthread to libc under a new version. They did not change.
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
