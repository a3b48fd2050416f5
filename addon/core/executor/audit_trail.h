// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "call_image.h"
#include "handles.h"
#include "rules.h"

namespace waep {

// Makes records of what happens in a session: of each refusal, and of each call that the rules say
// is worth one. A record is a map of texts in CBOR.
class AuditTrail {
 public:
  // Takes a record, valid while it is called. It must not wait, since a call does.
  using Sink = std::function<void(const uint8_t* record, size_t length)>;

  // Until this is called, nothing is told.
  void Open(Sink sink) { sink_ = std::move(sink); }

  void Refused(std::string_view command, std::string_view rule, std::string_view value);
  // To be told of every call that succeeded; `bound` is null when it has bound nothing.
  void Made(const Rules& rules, uint64_t operation, const CallImage& image, uint32_t handle,
            const Handle* bound);

  // To be told of every change of files; `other` is empty where there is one path only.
  void Changed(std::string_view operation, std::string_view path, std::string_view other);

 private:
  Sink sink_;
};

}  // namespace waep
