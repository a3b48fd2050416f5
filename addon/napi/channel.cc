// SPDX-License-Identifier: MIT
#include "channel.h"

#include <errno.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "../core/executor/call_loop.h"
#include "../core/frame.h"
#include "arguments.h"
#include "device_binding.h"

namespace waep {
namespace {

constexpr size_t kBufferBytes = 64 * 1024;
constexpr uint64_t kLongYieldNs = 200 * 1000;
constexpr uint64_t kSpinNs = 20 * 1000;
constexpr int64_t kWaitNs = 30 * 1000;
constexpr uint32_t kMaxWaitBackoff = 1024;
constexpr uint32_t kMaxTurns = 16;
// How many times in a row arrived bytes are received, if they fill the room each time.
constexpr int kMaxReceives = 8;

// The values that a channel keeps. A frame too large for the receive buffer gets memory of its own.
enum Value : size_t { kOnFrame, kOnEnd, kOnDrain, kReceiveBuffer, kSendBuffer, kFrame, kLarge };

// Results of Exchange in addition to the statuses of Send; see native.ts.
constexpr int kAnswered = 1;
constexpr int kUndelivered = 2;

}  // namespace

Napi::Function Channel::Define(Napi::Env env) {
  return DefineClass(env, "Channel",
                     {
                         InstanceAccessor<&Channel::ReceiveBuffer>("receiveBuffer"),
                         InstanceAccessor<&Channel::SendBuffer>("sendBuffer"),
                         InstanceAccessor<&Channel::Frame>("frame"),
                         InstanceAccessor<&Channel::QueuedBytes>("queuedBytes"),
                         InstanceMethod<&Channel::Send>("send"),
                         InstanceMethod<&Channel::DoDeliver>("deliver"),
                         InstanceMethod<&Channel::SendParts>("sendParts"),
                         InstanceMethod<&Channel::Start>("start"),
                         InstanceMethod<&Channel::DoRef>("ref"),
                         InstanceMethod<&Channel::DoUnref>("unref"),
                         InstanceMethod<&Channel::DoClose>("close"),
                     });
}

Channel::Channel(const Napi::CallbackInfo& info)
    : LoopObject(info, "waep:Channel"), max_frame_bytes_(arguments::Uint(info, 1)) {
  Keep(kOnFrame, info[2]);
  Keep(kOnEnd, info[3]);
  Keep(kOnDrain, info[4]);
  const Napi::Env env = info.Env();
  auto receive = Napi::Uint8Array::New(env, kBufferBytes);
  auto send = Napi::Uint8Array::New(env, kBufferBytes);
  receive_data_ = receive.Data();
  send_data_ = send.Data();
  Keep(kReceiveBuffer, receive);
  Keep(kSendBuffer, send);
  auto frame = Napi::Uint32Array::New(env, 4);
  frame_data_ = frame.Data();
  Keep(kFrame, frame);
  LoopStream::Ready ready = [this](int status, int events) { Ready(status, events); };
  int error = -EBADF;
  if (info[0].IsNumber()) {
    unique_fd fd(arguments::Int(info, 0));
    stream_ = LoopStream::OfDescriptor(env, std::move(fd), std::move(ready), &error);
  } else {
    const auto source = info[0].As<Napi::Object>();
    const auto* const binding = DeviceBinding::Unwrap(source.Get("device").As<Napi::Object>());
    const int number = source.Get("stream").As<Napi::Number>();
    stream_ = binding->loop()->Take(number, std::move(ready));
  }
  if (stream_ == nullptr) {
    ThrowPollError(env, error);
    return;
  }
  Opened();
  DefineExchange(info.This().As<Napi::Object>());
  stream_->OnTeardown([this] { stream_.reset(); });
}

Napi::Value Channel::ReceiveBuffer(const Napi::CallbackInfo&) { return Kept(kReceiveBuffer); }
Napi::Value Channel::SendBuffer(const Napi::CallbackInfo&) { return Kept(kSendBuffer); }

Napi::Value Channel::Frame(const Napi::CallbackInfo&) { return Kept(kFrame); }

Napi::Value Channel::QueuedBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(queue_.size() - queue_start_));
}

Napi::Value Channel::Send(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), SendBuilt(arguments::Uint(info, 0)));
}

int Channel::SendBuilt(size_t length) {
  const iovec part = {send_data_, std::min(length, kBufferBytes)};
  return SendOrQueue(&part, 1);
}

void Channel::DefineExchange(Napi::Object self) {
  // Finding a wrapped object costs several look-ups per call; a function's own data costs none. The
  // function may outlive the channel, which then clears the pointer.
  auto* const target = new std::shared_ptr<Channel*>(self_);
  napi_value function = nullptr;
  if (napi_create_function(Env(), "exchange", NAPI_AUTO_LENGTH, &CallExchange, target, &function) !=
      napi_ok) {
    delete target;
    return;
  }
  napi_add_finalizer(
      Env(), function, target,
      [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Channel*>*>(data); },
      nullptr, nullptr);
  self.DefineProperty(Napi::PropertyDescriptor::Value("exchange", function, napi_enumerable));
}

napi_value Channel::CallExchange(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, &argument, nullptr, &data);
  uint32_t length = 0;
  napi_get_value_uint32(env, argument, &length);
  Channel* const channel = **static_cast<std::shared_ptr<Channel*>*>(data);
  napi_value status = nullptr;
  napi_create_int32(env, channel == nullptr ? -EBADF : channel->Exchange(length), &status);
  return status;
}

int Channel::Exchange(size_t length) {
  const int sent = SendBuilt(length);
  if (stream_ == nullptr || !queue_.empty() || large_data_ != nullptr) return sent;
  if (wait_skip_ > 0) {
    --wait_skip_;
    return sent;
  }
  // A loop over awaited calls must not block the event loop for all others.
  if (turns_ >= kMaxTurns) return sent;
  ++turns_;
  if (!AwaitAnswer() || stream_ == nullptr) return sent;
  return TakeOnly() ? kAnswered : kUndelivered;
}

bool Channel::AwaitAnswer() {
  // The send often wakes a peer on this core, which then runs at once and has answered by now.
  // Otherwise the peer cannot answer before this thread yields, and its answer would have to wake
  // this thread through the event loop. Yielding here avoids both. For a peer on another core, this
  // thread polls and then sleeps, which is still faster than the event loop.
  const uint64_t start_ns = uv_hrtime();
  uint64_t waited_ns = 0;
  bool received = Receive();
  while (!received && waited_ns < kSpinNs) {
    ::sched_yield();
    received = Receive();
    waited_ns = uv_hrtime() - start_ns;
  }
  bool in_time = waited_ns < kLongYieldNs;
  if (!received && in_time) {
    in_time = stream_->WaitReadable(kWaitNs);
    received = in_time && Receive();
  }
  if (received && in_time) {
    wait_backoff_ = 1;
  } else {
    wait_skip_ = wait_backoff_;
    wait_backoff_ = std::min(wait_backoff_ * 2, kMaxWaitBackoff);
  }
  return received;
}

void Channel::DoDeliver(const Napi::CallbackInfo&) { DeliverComplete(); }

Napi::Value Channel::SendParts(const Napi::CallbackInfo& info) {
  const std::vector<iovec> parts = arguments::Parts(info[0]);
  return Napi::Number::New(info.Env(), SendOrQueue(parts.data(), parts.size()));
}

Napi::Value Channel::Start(const Napi::CallbackInfo&) {
  started_ = true;
  Watch();
  return Env().Undefined();
}

void Channel::DoRef(const Napi::CallbackInfo&) {
  if (stream_ != nullptr) stream_->Ref();
}

void Channel::DoUnref(const Napi::CallbackInfo&) {
  if (stream_ != nullptr) stream_->Unref();
}

void Channel::DoClose(const Napi::CallbackInfo&) { Release(); }

int Channel::SendOrQueue(const iovec* parts, size_t count) {
  if (stream_ == nullptr) return -EBADF;
  size_t skip = 0;
  if (queue_.empty()) {
    const ssize_t sent = stream_->Send(parts, count);
    if (sent < 0 && sent != -EAGAIN) return static_cast<int>(sent);
    skip = sent < 0 ? 0 : static_cast<size_t>(sent);
  }
  for (size_t i = 0; i < count; ++i) {
    const auto* data = static_cast<const uint8_t*>(parts[i].iov_base);
    const size_t size = parts[i].iov_len;
    if (skip >= size) {
      skip -= size;
      continue;
    }
    queue_.insert(queue_.end(), data + skip, data + size);
    skip = 0;
  }
  if (!queue_.empty()) Watch();
  return 0;
}

void Channel::Watch() {
  if (stream_ == nullptr) return;
  stream_->Poll((started_ ? UV_READABLE : 0) | (queue_.empty() ? 0 : UV_WRITABLE));
}

void Channel::Ready(int status, int events) {
  turns_ = 0;
  if (status < 0) {
    const int error = stream_->Error();
    End(error != 0 ? error : status, 0, 0);
    return;
  }
  if ((events & UV_WRITABLE) != 0) Writable();
  if ((events & UV_READABLE) == 0) return;
  for (int i = 0; i < kMaxReceives && stream_ != nullptr && Receive() && stream_ != nullptr; ++i) {
    DeliverComplete();
    if (!filled_) break;
  }
}

void Channel::Writable() {
  const iovec part = {queue_.data() + queue_start_, queue_.size() - queue_start_};
  const ssize_t sent = part.iov_len == 0 ? 0 : stream_->Send(&part, 1);
  if (sent == -EAGAIN) return;
  if (sent < 0) {
    End(static_cast<int>(sent), 0, 0);
    return;
  }
  queue_start_ += static_cast<size_t>(sent);
  if (queue_start_ < queue_.size()) return;
  queue_ = {};
  queue_start_ = 0;
  Watch();
  Call(kOnDrain, {});
}

bool Channel::Receive() {
  const bool large = large_data_ != nullptr;
  uint8_t* const target = large ? large_data_ + large_have_ : receive_data_ + end_;
  const size_t room = large ? large_want_ - large_have_ : kBufferBytes - end_;
  // Frames that are delivered at present may fill the buffer. Without room, recv(2) returns 0,
  // which is no end.
  if (room == 0) return false;
  const ssize_t got = stream_->Receive(target, room);
  if (got == -EAGAIN) return false;
  if (got <= 0) {
    const size_t have = large ? frame::kHeaderBytes + large_have_ : end_ - start_;
    size_t want = large ? frame::kHeaderBytes + large_want_ : frame::kHeaderBytes;
    if (!large && have >= frame::kHeaderBytes) {
      want += frame::Parse(receive_data_ + start_).length;
    }
    End(got < 0     ? static_cast<int>(got)
        : have == 0 ? CallLoop::kClean
                    : CallLoop::kTruncated,
        have, want);
    return true;
  }
  (large ? large_have_ : end_) += static_cast<size_t>(got);
  filled_ = static_cast<size_t>(got) == room;
  return true;
}

bool Channel::TakeOnly() {
  if (large_data_ != nullptr || start_ != 0 || end_ < frame::kHeaderBytes) return false;
  const frame::Header header = frame::Parse(receive_data_);
  if (header.flags != 0 || header.reserved != 0 || header.length != end_ - frame::kHeaderBytes) {
    return false;
  }
  Describe(header.type, header.id, frame::kHeaderBytes, end_);
  end_ = 0;
  return true;
}

void Channel::DeliverComplete() {
  if (large_data_ != nullptr) {
    if (large_have_ == large_want_) DeliverLarge();
    return;
  }
  while (stream_ != nullptr && end_ - start_ >= frame::kHeaderBytes) {
    const frame::Header header = frame::Parse(receive_data_ + start_);
    if (header.flags != 0 || header.reserved != 0) {
      End(CallLoop::kMalformed, end_ - start_, frame::kHeaderBytes);
      return;
    }
    if (header.length > max_frame_bytes_) {
      End(CallLoop::kTooLarge, header.length, max_frame_bytes_);
      return;
    }
    const size_t body = start_ + frame::kHeaderBytes;
    const size_t have = end_ - body;
    if (header.length > kBufferBytes - frame::kHeaderBytes) {
      const Napi::HandleScope scope(Env());
      auto large = Napi::Uint8Array::New(Env(), header.length);
      Keep(kLarge, large);
      large_data_ = large.Data();
      // The receive buffer holds only a part of this frame, and nothing can follow the frame there.
      large_have_ = have;
      large_want_ = header.length;
      large_type_ = header.type;
      large_id_ = header.id;
      std::memcpy(large_data_, receive_data_ + body, have);
      start_ = end_ = 0;
      return;
    }
    if (have < header.length) break;
    // This is set before the callback, because microtasks run when it returns and may call
    // Exchange.
    start_ = body + header.length;
    Describe(header.type, header.id, body, start_);
    if (start_ == end_) start_ = end_ = 0;
    Deliver(Kept(kReceiveBuffer));
  }
  if (start_ == end_) {
    start_ = end_ = 0;
  } else if (start_ > 0) {
    std::memmove(receive_data_, receive_data_ + start_, end_ - start_);
    end_ -= start_;
    start_ = 0;
  }
}

void Channel::DeliverLarge() {
  const Napi::HandleScope scope(Env());
  const Napi::Value bytes = Kept(kLarge);
  Describe(large_type_, large_id_, 0, large_want_);
  large_data_ = nullptr;
  Drop(kLarge);
  Deliver(bytes);
}

void Channel::Describe(uint8_t type, uint32_t id, size_t start, size_t end) {
  frame_data_[0] = type;
  frame_data_[1] = id;
  frame_data_[2] = static_cast<uint32_t>(start);
  frame_data_[3] = static_cast<uint32_t>(end);
}

void Channel::Deliver(napi_value bytes) {
  const Napi::HandleScope scope(Env());
  Call(kOnFrame, {bytes});
}

void Channel::End(int status, size_t have, size_t want) {
  if (stream_ == nullptr) return;
  const Napi::Env env = Env();
  const Napi::HandleScope scope(env);
  Release();
  Call(kOnEnd, {Napi::Number::New(env, status), Napi::Number::New(env, static_cast<double>(have)),
                Napi::Number::New(env, static_cast<double>(want))});
}

void Channel::Release() {
  if (stream_ == nullptr) return;
  const std::unique_ptr<LoopStream> stream = std::move(stream_);
  stream->Close(Closing());
  queue_ = {};
  queue_start_ = 0;
  start_ = end_ = 0;
  large_data_ = nullptr;
}

}  // namespace waep
