// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "call_image.h"
#include "handles.h"
#include "rules.h"

namespace waep {

// Makes the audit log's records of a session: of each refusal, and of each call that the rules mark
// for it. A record is a map of texts in CBOR.
class AuditTrail {
 public:
  // Takes a record, which is valid during the call. It must not block, because a bpf call waits for
  // it.
  using Sink = std::function<void(const uint8_t* record, size_t length)>;

  // Before this is called, there are no records.
  void Open(Sink sink) { sink_ = std::move(sink); }

  void Refused(std::string_view command, std::string_view rule, std::string_view value);
  // Must be called for every call that succeeded. `bound` is null if it bound no handle. The record
  // waits for Flush, because the agent wakes up for it.
  void Made(const Rules& rules, uint64_t operation, const CallImage& image, uint32_t handle,
            const Handle* bound);

  // Must be called for every change of files. `other` is empty if there is only one path.
  void Changed(std::string_view operation, std::string_view path, std::string_view other);

  // Must be called by the thread that executes calls: after every answer, before a refusal, and
  // before it waits for a client to read an answer.
  void Flush();

 private:
  Sink sink_;
  std::vector<std::vector<uint8_t>> made_;
};

}  // namespace waep
