// SPDX-License-Identifier: MIT
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>
#include <utility>

#include "../sockets.h"

namespace waep::control {
namespace {

// An agent that is only busy makes room sooner.
constexpr int kAuditWaitMs = 1000;

}  // namespace

int Channel::Receive(Message* message) {
  int received = -1;
  const ssize_t got = sockets::ReceiveMessage(fd_, buffer_.data(), buffer_.size(), &received);
  message->descriptor.reset();
  if (got <= 0) return static_cast<int>(got);
  if (received >= 0) {
    const unique_fd low(received);
    // If there is no room for the descriptor, it is closed, and its other end sees that.
    message->descriptor.reset(::fcntl(low.get(), F_DUPFD_CLOEXEC, first_fd_));
  }
  if (static_cast<size_t>(got) < kHeaderBytes) return -EPROTO;
  message->kind = buffer_[0];
  message->detail = buffer_[1];
  std::memcpy(&message->number, &buffer_[4], sizeof message->number);
  message->payload = buffer_.data() + kHeaderBytes;
  message->length = static_cast<size_t>(got) - kHeaderBytes;
  return 1;
}

int Channel::SendNow(Kind kind, uint32_t number, const uint8_t* payload, size_t length, int flags) {
  uint8_t header[kHeaderBytes] = {kind};
  std::memcpy(header + 4, &number, sizeof number);
  const iovec parts[] = {{header, sizeof header}, {const_cast<uint8_t*>(payload), length}};
  const ssize_t sent = sockets::SendMessage(fd_, parts, 2, -1, flags);
  return sent < 0 ? static_cast<int>(sent) : 0;
}

int Channel::Send(Kind kind, uint32_t number, const uint8_t* payload, size_t length) {
  return SendNow(kind, number, payload, length, 0);
}

void Channel::Audit(const uint8_t* record, size_t length) {
  const uint32_t dropped = dropped_.exchange(0);
  int error = SendNow(kAudit, dropped, record, length, MSG_DONTWAIT);
  if (error == -EAGAIN && dropped == 0) {
    pollfd room = {fd_, POLLOUT, 0};
    if (::poll(&room, 1, kAuditWaitMs) > 0) {
      error = SendNow(kAudit, dropped, record, length, MSG_DONTWAIT);
    }
  }
  if (error != 0) dropped_ += dropped + 1;
}

int Thread::Start() {
  pthread_barrier_init(&running_, nullptr, 2);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  const int error = pthread_create(&thread_, &attributes, Run, this);
  pthread_attr_destroy(&attributes);
  if (error == 0) pthread_barrier_wait(&running_);
  return -error;
}

void* Thread::Run(void* self) {
  auto* const thread = static_cast<Thread*>(self);
  pthread_barrier_wait(&thread->running_);
  thread->Serve();
  return nullptr;
}

void Thread::Serve() {
  Message message;
  for (;;) {
    pollfd ready[] = {{channel_->fd(), POLLIN, 0}, {handler_->watched(), POLLRDHUP, 0}};
    ::poll(ready, 2, handler_->wait_ms());
    handler_->Turn();
    if (ready[1].revents != 0) handler_->PeerEnded();
    if (ready[0].revents == 0) continue;
    if (channel_->Receive(&message) <= 0) break;
    if (message.kind == kAttach && message.descriptor.valid()) {
      handler_->Attach(static_cast<Purpose>(message.detail), message.number,
                       std::move(message.descriptor));
    } else if (message.kind == kCancel) {
      handler_->Cancel(message.number);
    } else if (message.kind == kEnd) {
      handler_->End();
    }
  }
  ::_Exit(EXIT_FAILURE);
}

}  // namespace waep::control
