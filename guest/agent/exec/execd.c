/*
 * execd: runs commands as root in a guest, for tests and measurements. A client must know the key
 * in execd's environment variable EXEC_KEY. A client without the key gets no answer.
 *
 * One connection runs one command. Both directions carry messages of a type byte, a length (32
 * bits, little endian) and that many bytes.
 *
 *   to the guest     L  the key; before all others
 *                    A  one argument; the first is the program, searched in PATH
 *                    V  one environment variable, NAME=value
 *                    R  start the command (empty)
 *                    I  bytes for its standard input; an empty message ends it
 *                    K  send its process group a signal (32 bits, little endian)
 *   from the guest   O  bytes of its standard output
 *                    E  bytes of its standard error
 *                    X  it exited: its status (32 bits, little endian)
 *                    S  it was killed: the signal (32 bits, little endian)
 *                    F  it could not be started: errno (32 bits, little endian)
 *
 * X, S or F is the last message. If the connection ends before, the command's process group is
 * killed. Arguments and variables may be up to 128 KiB each and 1024 together.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORDS = 1024, MAX_MESSAGE = 128 * 1024, HEADER = 5 };

struct command {
  char *arguments[MAX_WORDS + 1];
  char *variables[MAX_WORDS + 1];
  int argument_count;
  int variable_count;
};

static char key[256];

struct running {
  pid_t pid;
  int pidfd;
  int in;
  int out;
  int err;
};

static void read_exactly(int fd, void *buffer, size_t length) {
  char *at = buffer;
  while (length > 0) {
    ssize_t got = read(fd, at, length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) _exit(0);
    at += got;
    length -= (size_t)got;
  }
}

/* Returns false when the reader is gone. */
static bool write_exactly(int fd, const void *buffer, size_t length) {
  const char *at = buffer;
  while (length > 0) {
    ssize_t put = write(fd, at, length);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    at += put;
    length -= (size_t)put;
  }
  return true;
}

static uint32_t read_header(int fd, char *type) {
  unsigned char header[HEADER];
  uint32_t length;
  read_exactly(fd, header, sizeof header);
  *type = (char)header[0];
  memcpy(&length, header + 1, sizeof length);
  length = le32toh(length);
  if (length > MAX_MESSAGE) _exit(1);
  return length;
}

static bool send_message(int fd, char type, const void *bytes, uint32_t length) {
  unsigned char message[HEADER + 64 * 1024];
  uint32_t wire = htole32(length);
  message[0] = (unsigned char)type;
  memcpy(message + 1, &wire, sizeof wire);
  memcpy(message + HEADER, bytes, length);
  return write_exactly(fd, message, HEADER + length);
}

static void finish(int fd, char type, int value) {
  uint32_t wire = htole32((uint32_t)value);
  send_message(fd, type, &wire, sizeof wire);
  /* The reset that follows a close with unread bytes would overtake the last message. */
  shutdown(fd, SHUT_WR);
  struct pollfd peer = {.fd = fd, .events = POLLIN};
  char rest[4096];
  while (poll(&peer, 1, 1000) > 0 && read(fd, rest, sizeof rest) > 0) continue;
  _exit(0);
}

/* Takes the same time, whatever is wrong with the key. */
static void receive_key(int fd) {
  char type;
  char given[sizeof key] = {0};
  uint32_t length = read_header(fd, &type);
  if (type != 'L' || length >= sizeof given) _exit(1);
  read_exactly(fd, given, length);
  unsigned char difference = 0;
  for (size_t i = 0; i < sizeof key; i++) difference |= (unsigned char)(key[i] ^ given[i]);
  if (difference != 0) _exit(1);
}

static void receive_command(int fd, struct command *command) {
  for (;;) {
    char type;
    uint32_t length = read_header(fd, &type);
    if (type == 'R') break;
    int *count = type == 'A' ? &command->argument_count : &command->variable_count;
    char **words = type == 'A' ? command->arguments : command->variables;
    if ((type != 'A' && type != 'V') || *count == MAX_WORDS) _exit(1);
    char *word = malloc(length + 1);
    if (word == NULL) _exit(1);
    read_exactly(fd, word, length);
    word[length] = '\0';
    words[(*count)++] = word;
  }
  if (command->argument_count == 0) finish(fd, 'F', EINVAL);
}

static void start(int fd, struct command *command, struct running *running) {
  int in[2], out[2], err[2], failed[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) ||
      pipe2(failed, O_CLOEXEC))
    finish(fd, 'F', errno);
  running->pid = fork();
  if (running->pid < 0) finish(fd, 'F', errno);
  if (running->pid == 0) {
    setsid();
    signal(SIGPIPE, SIG_DFL);
    /* The shell that starts this daemon in the background ignores them. */
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    for (int i = 0; i < command->variable_count; i++) putenv(command->variables[i]);
    execvp(command->arguments[0], command->arguments);
    int why = errno;
    (void)!write(failed[1], &why, sizeof why);
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  close(failed[1]);
  int why;
  if (read(failed[0], &why, sizeof why) == sizeof why) finish(fd, 'F', why);
  close(failed[0]);
  running->in = in[1];
  running->out = out[0];
  running->err = err[0];
  running->pidfd = (int)syscall(SYS_pidfd_open, running->pid, 0);
  if (running->pidfd < 0) finish(fd, 'F', errno);
}

/* Takes one message from the host. A command that no longer reads its input loses the rest. */
static void take_message(int fd, struct running *running) {
  char type;
  static char bytes[MAX_MESSAGE];
  uint32_t length = read_header(fd, &type);
  read_exactly(fd, bytes, length);
  if (type == 'K' && length == 4) {
    uint32_t number;
    memcpy(&number, bytes, sizeof number);
    kill(-running->pid, (int)le32toh(number));
  }
  if (type != 'I' || running->in < 0) return;
  if (length > 0 && write_exactly(running->in, bytes, length)) return;
  close(running->in);
  running->in = -1;
}

/* Passes on what a pipe holds. Returns false at its end. */
static bool pass_on(int from, int to, char type, int pid) {
  static char bytes[64 * 1024];
  ssize_t got = read(from, bytes, sizeof bytes);
  if (got < 0) return errno == EINTR;
  if (got == 0) return false;
  if (!send_message(to, type, bytes, (uint32_t)got)) {
    kill(-pid, SIGKILL);
    _exit(0);
  }
  return true;
}

static void drain(int from, int to, char type, int pid) {
  if (from < 0) return;
  fcntl(from, F_SETFL, O_NONBLOCK);
  while (pass_on(from, to, type, pid)) continue;
}

static void serve(int fd) {
  struct command command = {0};
  struct running running = {0};
  receive_key(fd);
  receive_command(fd, &command);
  start(fd, &command, &running);
  for (;;) {
    struct pollfd watched[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = running.out, .events = POLLIN},
        {.fd = running.err, .events = POLLIN},
        {.fd = running.pidfd, .events = POLLIN},
    };
    if (poll(watched, 4, -1) < 0) {
      if (errno == EINTR) continue;
      _exit(1);
    }
    if (watched[1].revents && !pass_on(running.out, fd, 'O', running.pid)) running.out = -1;
    if (watched[2].revents && !pass_on(running.err, fd, 'E', running.pid)) running.err = -1;
    if (watched[3].revents) break;
    if (watched[0].revents) {
      char next;
      ssize_t got = recv(fd, &next, 1, MSG_PEEK | MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        kill(-running.pid, SIGKILL);
        _exit(0);
      }
      if (got > 0) take_message(fd, &running);
    }
  }
  /*
   * The pipes hold all output of the command itself by now. Its children may go on writing for
   * ever.
   */
  drain(running.out, fd, 'O', running.pid);
  drain(running.err, fd, 'E', running.pid);
  int status = 0;
  waitpid(running.pid, &status, 0);
  if (WIFSIGNALED(status)) finish(fd, 'S', WTERMSIG(status));
  finish(fd, 'X', WEXITSTATUS(status));
}

static int listen_vsock(unsigned port) {
  struct sockaddr_vm address = {
      .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 64)) return -1;
  return fd;
}

static int listen_tcp(unsigned port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int one = 1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 64)) return -1;
  return fd;
}

static void take_connection(int listener) {
  int one = 1;
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (fork() == 0) {
    signal(SIGCHLD, SIG_DFL);
    serve(fd);
  }
  close(fd);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: execd PORT\n");
    return 2;
  }
  unsigned port = (unsigned)strtoul(argv[1], NULL, 10);
  const char *secret = getenv("EXEC_KEY");
  if (secret == NULL || secret[0] == '\0' || strlen(secret) >= sizeof key) {
    fprintf(stderr, "waep-execd: EXEC_KEY must have 1 to %zu characters\n", sizeof key - 1);
    return 2;
  }
  strcpy(key, secret);
  /* The commands must not get the key. */
  unsetenv("EXEC_KEY");
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);
  struct pollfd listeners[] = {
      {.fd = listen_vsock(port), .events = POLLIN},
      {.fd = listen_tcp(port), .events = POLLIN},
  };
  if (listeners[0].fd < 0 && listeners[1].fd < 0) {
    perror("waep-execd: listen");
    return 1;
  }
  printf("waep-execd: listening on%s%s\n", listeners[0].fd < 0 ? "" : " vsock",
         listeners[1].fd < 0 ? "" : " tcp");
  fflush(stdout);
  for (;;) {
    if (poll(listeners, 2, -1) < 0) continue;
    for (int i = 0; i < 2; i++)
      if (listeners[i].revents) take_connection(listeners[i].fd);
  }
}
