// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "loop_object.h"
#include "loop_stream.h"

namespace waep {

// `Channel` of src/native.ts.
class Channel : public LoopObject<Channel, 7> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Channel(const Napi::CallbackInfo& info);
  ~Channel() override { *self_ = nullptr; }

 private:
  Napi::Value ReceiveBuffer(const Napi::CallbackInfo& info);
  Napi::Value SendBuffer(const Napi::CallbackInfo& info);
  Napi::Value Frame(const Napi::CallbackInfo& info);
  Napi::Value QueuedBytes(const Napi::CallbackInfo& info);
  Napi::Value Send(const Napi::CallbackInfo& info);
  void DoDeliver(const Napi::CallbackInfo& info);
  Napi::Value SendParts(const Napi::CallbackInfo& info);
  Napi::Value Start(const Napi::CallbackInfo& info);
  void DoRef(const Napi::CallbackInfo& info);
  void DoUnref(const Napi::CallbackInfo& info);
  void DoClose(const Napi::CallbackInfo& info);

  void DefineExchange(Napi::Object self);
  static napi_value CallExchange(napi_env env, napi_callback_info info);
  int Exchange(size_t length);
  int SendBuilt(size_t length);
  void Ready(int status, int events);
  // Yields to a peer that may answer at once, then waits a moment. Returns false if no answer began
  // to arrive.
  bool AwaitAnswer();
  // Receives bytes without delivering them. Returns false if there were none.
  bool Receive();
  void DeliverLarge();
  void Writable();
  // Returns whether the receive buffer holds one complete frame and nothing else. If so, describes
  // the frame.
  bool TakeOnly();
  // Delivers the complete frames in the receive buffer.
  void DeliverComplete();
  void Describe(uint8_t type, uint32_t id, size_t start, size_t end);
  void Deliver(napi_value bytes);
  int SendOrQueue(const iovec* parts, size_t count);
  void End(int status, size_t have, size_t want);
  void Release();
  void Watch();

  std::unique_ptr<LoopStream> stream_;  // null after the stream has ended
  size_t max_frame_bytes_;
  uint8_t* receive_data_ = nullptr;
  uint8_t* send_data_ = nullptr;
  uint32_t* frame_data_ = nullptr;
  size_t start_ = 0;
  size_t end_ = 0;
  // A frame too large for the receive buffer is assembled here.
  uint8_t* large_data_ = nullptr;
  size_t large_have_ = 0;
  size_t large_want_ = 0;
  uint8_t large_type_ = 0;
  uint32_t large_id_ = 0;
  std::vector<uint8_t> queue_;
  size_t queue_start_ = 0;
  bool started_ = false;
  const std::shared_ptr<Channel*> self_ = std::make_shared<Channel*>(this);
  // How many exchanges still skip the waiting, and how many will do so after the next failure.
  uint32_t wait_skip_ = 0;
  uint32_t wait_backoff_ = 1;
  bool filled_ = false;  // whether the last receive filled all the room
  uint32_t turns_ = 0;   // exchanges since the last call of the event loop
};

}  // namespace waep
