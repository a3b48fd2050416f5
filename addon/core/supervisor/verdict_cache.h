// SPDX-License-Identifier: MIT
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "caller_memory.h"
#include "seccomp_listener.h"

namespace waep::seccomp {

// How the calls of one command are distinguished. The first argument is the command, the second
// points to its attribute, and the third is the attribute's size.
struct Recipe {
  enum Kind : uint32_t { kBytes = 0, kText = 1, kOutput = 2 };

  struct Pointer {
    uint32_t offset = 0;  // in the attribute
    Kind kind = kBytes;
    uint32_t count_offset = 0;  // where the attribute says how many units there are
    uint32_t unit = 0;          // bytes; of a text, the most that it can have with its NUL
    // In records of `stride` bytes, byte `byte` has none of the bits of `mask`; 0: no such rule.
    uint32_t stride = 0;
    uint32_t byte = 0;
    uint32_t mask = 0;
  };

  struct Zeroes {
    uint32_t offset = 0;
    uint32_t length = 0;
  };

  uint32_t architecture = 0;
  uint32_t number = 0;  // of the system call
  uint32_t command = 0;
  std::vector<Zeroes> zeroes;  // fields that must be zero, or the call has no key
  std::vector<Pointer> pointers;
};

// The outcomes of calls, by their keys. A key holds everything that the outcome depends on.
//
// A key consists of the command, and of the attribute with 1 in place of each address. For each
// address it has the length of the buffer there, and the bytes unless the buffer is an output. A
// key says nothing of descriptors, so the recipe must leave out every call that can have one.
class VerdictCache {
 public:
  static constexpr size_t kMaxOutcomes = 16384;

  struct Outcome {
    uint32_t error = 0;  // 0: the call succeeds
    bool notify = false;
    // The outputs, in parts. Each part has three words and bytes. The words are the region (0: the
    // attribute; 1: the buffer of the recipe's first pointer), the offset and the length.
    std::string_view writes;
  };

  // Returns false for words that are no recipe: architecture, number, command, how many zeroes and
  // these, how many pointers and these, each as the members of its struct.
  bool Describe(const uint32_t* words, size_t count);

  // Returns the key of a call, or nothing if it has none. It is valid until the next call.
  std::string_view Key(const Notification& call);

  enum Answered { kNo = 0, kYes = 1, kNotify = 2, kSucceeds = 3 };
  // Answers a call that is known to fail. For one that is known to succeed, it writes the outputs
  // and leaves the rest to the caller. key() then has the call's key, if it has one.
  Answered Answer(int listener, const Notification& call);
  // Of the call that was read last, and of the one that was answered last.
  [[nodiscard]] std::string_view key() const { return key_; }
  [[nodiscard]] std::string_view latest() const { return latest_; }

  [[nodiscard]] const Outcome* Find(std::string_view key) const;
  // Keeps a copy of an outcome, in place of an older one. With `notify`, the supervisor is notified
  // of calls that it answers. Returns false if there is no room, or if it could not be read back.
  bool Insert(std::string_view key, const Outcome& outcome);

  [[nodiscard]] size_t size() const { return outcomes_.size(); }
  // Writes all outcomes as a file of SavedBytes() bytes.
  void Save(uint8_t* file) const;
  [[nodiscard]] size_t SavedBytes() const;
  // Adds outcomes that Save has written for a table with the same recipe, up to the first damaged
  // one. The bytes are not copied, so they must stay unchanged as long as the table exists.
  void Load(const uint8_t* bytes, size_t size);

 private:
  struct Region {
    uint64_t address = 0;
    uint64_t length = 0;
  };

  bool Read(const Notification& call);
  bool ReadAttribute(pid_t thread, uint64_t address, size_t size);
  bool ReadRegions(pid_t thread);
  void FindInputs();
  bool Write(int listener, const Notification& call, std::string_view writes);
  [[nodiscard]] bool Accepts(std::string_view key, const Outcome& outcome) const;
  [[nodiscard]] uint32_t Word(uint32_t offset) const;

  Recipe recipe_;
  CallerMemory memory_of_callers_;
  std::string described_;
  std::unordered_map<std::string_view, Outcome> outcomes_;
  // The memory of keys and outcomes. It grows, within bounds, for as long as the table lasts.
  std::deque<std::string> memory_;
  size_t kept_bytes_ = 0;
  // The present call.
  std::string key_;
  std::string latest_;
  std::string attribute_;
  std::vector<Region> regions_;
  // The present call's inputs: parts within pages, where they begin in bytes_, and how much was
  // read.
  std::vector<iovec> inputs_;
  std::vector<iovec> parts_;
  std::vector<size_t> starts_;
  std::string bytes_;
  size_t got_ = 0;
};

}  // namespace waep::seccomp
