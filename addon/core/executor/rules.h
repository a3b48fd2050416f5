// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "cbor.h"

namespace waep {

// Bounds of one session; sizes in bytes.
struct Limits {
  // Calls, and frames, that are all no larger than this have their memory from the start, and keep
  // it: it is none that the kernel can take for a session's objects.
  static constexpr uint64_t kResidentBytes = 4u << 20;

  uint64_t max_frame_bytes = 64u << 20;
  uint64_t max_call_bytes = 128u << 20;
  uint64_t max_buffers = 256;
  uint64_t max_relocations = 1u << 20;
  uint64_t max_handles = 4096;
  uint64_t max_streams = 64;
  uint64_t max_events_per_second = 0;  // 0: as many as there are
  uint64_t max_ring_bytes = 0;         // of perf buffers at a time; 0: any number
};

// Numbers in closed ranges, ascending.
struct Ranges {
  struct Range {
    uint64_t first;
    uint64_t last;
  };
  std::vector<Range> ranges;

  [[nodiscard]] bool Contains(uint64_t value) const {
    for (const Range& range : ranges) {
      if (value <= range.last) return value >= range.first;
    }
    return false;
  }
};

// A word of the attribute.
struct WordCheck {
  uint32_t offset = 0;
  uint32_t width = 4;
  Ranges values;
};

// Every 32-bit word behind a pointer of the attribute.
struct WordsCheck {
  uint32_t pointer = 0;
  Ranges values;
};

// 8-byte records behind a pointer, of which a check is about those of a pattern.
struct Records {
  uint32_t pointer = 0;
  uint32_t count = 0;  // where the attribute has their number
  uint64_t mask = 0;
  uint64_t pattern = 0;

  [[nodiscard]] bool Has(uint64_t record) const { return (record & mask) == pattern; }
  // Whether it can have a record of which this is the first byte.
  [[nodiscard]] bool MayHave(uint8_t byte) const { return ((byte ^ pattern) & mask & 0xff) == 0; }
};

// A number inside of records.
struct RecordsCheck {
  Records records;
  uint32_t shift = 0;
  uint64_t value_mask = 0;
  Ranges values;
};

// A text behind a pointer, or `count` of them behind an array of pointers.
struct TextCheck {
  uint32_t pointer = 0;
  bool array = false;
  uint32_t count = 0;    // where the attribute has their number, when they are an array
  uint64_t maximum = 0;  // the bytes of one that the kernel reads at most, its NUL included
  // Whether the patterns are paths, where one that ends in a slash stands for all below it, rather
  // than names with the wildcards * and ?.
  bool paths = false;
  std::vector<std::string> patterns;
};

// A bound on what exists at a time: the amount of a call is the constant plus its terms, times the
// word at `factor`.
struct QuotaCheck {
  struct Term {
    uint32_t offset = 0;
    uint64_t round = 1;
    uint64_t multiplier = 1;
  };
  static constexpr uint32_t kNoFactor = UINT32_MAX;
  uint32_t counter = 0;
  uint64_t maximum = 0;
  uint64_t constant = 0;
  std::vector<Term> terms;
  uint32_t factor = kNoFactor;
};

// Bytes of the attribute of which nothing is known: they must be zero.
struct RestCheck {
  uint32_t offset = 0;
};

// What may be behind a descriptor: nothing that is the result of one of these commands, given what
// the call does with it. A descriptor is named by a relocation; a number in its place is refused.
struct Objects {
  std::string use;
  Ranges refused;
};

// When a word is a descriptor.
struct Presence {
  enum Kind : uint64_t {
    kAlways,
    kNonzero,
    kFlag,      // if a bit of another word is set
    kUnless,    // unless it is zero, or a bit of another word is set
    kPositive,  // as a signed number
    kPerhaps,   // what else it can be is a number that anybody may choose
  };
  Kind kind = kAlways;
  uint32_t offset = 0;
  uint64_t mask = 0;
};

// A descriptor in the attribute, or in the structure that a word of the attribute points to.
struct DescriptorCheck {
  static constexpr uint32_t kAttribute = UINT32_MAX;
  uint32_t pointer = kAttribute;
  uint32_t offset = 0;
  Presence presence;
  Objects objects;
};

// As many descriptors as a word of the attribute says, behind a pointer.
struct DescriptorsCheck {
  uint32_t pointer = 0;
  uint32_t count = 0;
  Objects objects;
};

// A descriptor in records, counted in bytes from the start of each.
struct ReferencesCheck {
  Records records;
  uint32_t at = 0;
  Presence presence;
  Objects objects;
};

// A signed index in records, of a descriptor in an array behind a pointer; never one outside of the
// array.
struct IndicesCheck {
  Records records;
  uint32_t shift = 0;
  uint32_t bits = 0;
  bool zero_is_none = false;
  uint32_t array = 0;
  Objects objects;
};

// A descriptor in each key or value that a call hands over, of a map of one of these types.
struct ElementsCheck {
  static constexpr uint32_t kOne = UINT32_MAX;
  uint32_t map = 0;  // where the attribute has the map's descriptor
  Ranges types;
  uint32_t pointer = 0;
  uint32_t count = kOne;  // where the attribute has their number
  bool keys = false;
  uint32_t at = 0;  // from the start of each
  Presence presence;
  Objects objects;
};

// Where in which files probes may be, given a path behind a pointer.
struct ProbesCheck {
  static constexpr uint32_t kOne = UINT32_MAX;
  struct Place {
    uint64_t offset;   // in the file
    uint64_t counter;  // the offset of what the kernel counts up while there is a probe; 0 for none
  };
  struct File {
    std::string path;
    std::string identity;  // what tells it from what else it may become; empty for nothing
    std::vector<Place> places;
  };
  uint32_t path = 0;
  uint64_t maximum = 0;
  // Where the attribute has the number of places. Then the offsets, and the counters' if there are
  // any, are behind pointers; a single place is in the attribute itself.
  uint32_t count = kOne;
  uint32_t offset = 0;
  uint32_t counter = 0;
  uint32_t shift = 0;  // of a single counter in its word
  std::vector<File> files;
};

// The index of a network interface in the attribute, which must have one of these names when the
// call is made.
struct InterfaceCheck {
  uint32_t offset = 0;
  std::vector<std::string> names;
};

// One thing that a call must satisfy.
struct Check {
  // It is made for calls of which 32-bit words of the attribute, or the types of the objects whose
  // descriptors they are, have such values.
  struct Condition {
    bool type;
    uint32_t offset;
    Ranges values;
  };
  std::string rule;
  std::vector<Condition> when;
  uint32_t vocabulary = 0;  // one more than the index of its values' names; 0 for none
  std::variant<WordCheck, WordsCheck, RecordsCheck, TextCheck, QuotaCheck, RestCheck,
               DescriptorCheck, DescriptorsCheck, ReferencesCheck, IndicesCheck, ElementsCheck,
               ProbesCheck, InterfaceCheck>
      what;
};

// What calls of an operation must satisfy.
struct Checks {
  std::vector<Check> all;
  // By its first byte, whether one of them can be about a record.
  std::array<bool, 256> record_bytes = {};
  // The elements of what types of maps, each a bit, one of them can be about, given where the
  // attribute has the map's descriptor; all types if some have it elsewhere.
  uint64_t element_types = 0;
  uint32_t element_map = 0;

  void Add(Check check);
  // Whether there are checks of elements, none of which is about maps of a type.
  [[nodiscard]] bool PassesElementsOf(uint32_t type) const {
    return element_types != 0 && type < 64 && (element_types >> type & 1) == 0;
  }
};

// What the third argument of an ioctl(2) is.
enum class IoctlArgument : uint8_t { kNumber = 0, kHandle = 1, kBuffer = 2 };

// An ioctl(2) request that a session may make on its handles.
struct IoctlRule {
  std::string name;
  uint32_t request = 0;
  IoctlArgument argument = IoctlArgument::kNumber;
};

// A text of fixed size in the attribute.
struct CharactersFact {
  static constexpr uint32_t kMaxSize = 64;
  uint32_t offset = 0;
  uint32_t size = 0;
};

// Something to tell of a call, found where checks find what they are about.
struct Fact {
  std::string label;
  uint32_t vocabulary = 0;
  std::variant<WordCheck, RecordsCheck, TextCheck, CharactersFact> where;
};

// How calls of an operation are told to who keeps the audit log.
struct Report {
  std::string event;
  std::vector<Fact> facts;
};

// What the guest's owner lets a session do, as the policy compiles to it. Where a command has which
// field is said by the rules, too.
struct Rules {
  static constexpr uint32_t kMaxCounters = 16;
  // What there can be checks for beside commands: perf_event_open(2), and requests of ioctl(2).
  static constexpr uint64_t kPerfOpen = 0x10000;
  static constexpr uint64_t kIoctls = uint64_t{1} << 32;

  uint64_t commands = 0;  // bit n allows command n
  bool other_commands = false;
  bool perf_events = false;                            // whether there may be any
  std::vector<std::vector<std::string>> vocabularies;  // the first has the commands' names
  std::unordered_map<uint64_t, Checks> checks;         // by command, or other operation
  std::unordered_map<uint64_t, Report> reports;        // by operation
  Ranges pins;             // commands that let objects outlive their handles
  Ranges no_pointer_scan;  // commands whose attribute points to bytes, never to addresses
  Ranges foreign;  // commands whose results are of others, of which what is unknown is refused
  std::vector<std::string> readable_paths;
  std::vector<std::string> pin_paths;
  std::vector<IoctlRule> ioctls;
  Limits limits;

  [[nodiscard]] bool AllowsCommand(uint32_t command) const {
    return command < 64 ? (commands >> command & 1) != 0 : other_commands;
  }
  // Whether a file may be read: a folder that is listed is one as well.
  [[nodiscard]] bool AllowsPath(std::string_view path) const;
  // Whether it may be told what is at a path: also where it leads to what may be read or pinned.
  [[nodiscard]] bool AllowsLook(std::string_view path) const;
  // Whether it may be told what is in a folder.
  [[nodiscard]] bool AllowsListing(std::string_view path) const;
  // Whether there may be a pin, or a folder for some.
  [[nodiscard]] bool AllowsPin(std::string_view path) const;
  // Whether a path is allowed by itself, not only by a folder that it is in.
  [[nodiscard]] bool NamesPath(std::string_view path) const;
  // The rule for an ioctl(2) request, or null when there is none.
  [[nodiscard]] const IoctlRule* FindIoctl(uint32_t request) const;

  // A value with its name, if a vocabulary (index plus one) has one.
  [[nodiscard]] std::string Name(uint32_t vocabulary, uint64_t value) const;

  // What a command or other operation is called.
  [[nodiscard]] std::string OperationName(uint64_t operation) const;

  // Decodes
  //   rules = [commands, otherCommands, perfEvents, [[name...]...], [check...], [report...],
  //            ranges, ranges, ranges, [path...], [path...],
  //            [[name, request, argument]...], [maxFrameBytes, maxCallBytes, maxBuffers,
  //            maxRelocations, maxHandles, maxStreams, maxEventsPerSecond, maxRingBytes]]
  //   check = [rule, operation, [[type, offset, ranges]...], vocabulary, kind, ...]
  //     kind 0 word: offset, width, ranges         1 words: pointer, ranges
  //          2 records: records, shift, valueMask, ranges
  //          3 text: pointer, maximum, paths, [pattern...]
  //          4 texts: pointer, count, maximum, paths, [pattern...]
  //          5 quota: counter, maximum, constant, [[offset, round, multiplier]...], factor or false
  //          7 rest: offset
  //          8 descriptor: pointer or false, offset, presence, objects
  //          9 descriptors: pointer, count, objects
  //         10 references: records, at, presence, objects
  //         11 indices: records, shift, bits, zeroIsNone, array, objects
  //         12 elements: map, ranges, pointer, count or false, keys, at, presence, objects
  //         13 probes: path, maximum, count or false, offset, counter, shift,
  //            [[path, identity, [offset, counter, ...]]...]
  //         14 interface: offset, [name...]
  //   report = [operation, event, [[label, vocabulary, kind, ...]...]], of kinds 0, 2, 3, 4 and
  //          6 characters: offset, size
  //   records = [pointer, count, mask, pattern], presence = [kind, offset, mask],
  //   objects = [use, ranges], ranges = [first, last, ...]
  [[nodiscard]] static bool Decode(cbor::Reader* reader, Rules* rules);
};

// Whether a path is below, or is, one of `allowed`, of which those that end in a slash stand for
// all below them. Paths that are not absolute or climb are below nothing.
bool MatchesPath(std::string_view path, const std::vector<std::string>& allowed);

// Whether one of the patterns, with the wildcards * and ?, matches the whole text, and none of
// those that begin with an exclamation mark does.
bool MatchesGlobs(std::string_view text, const std::vector<std::string>& patterns);

}  // namespace waep
