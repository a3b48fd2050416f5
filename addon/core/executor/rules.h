// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "cbor.h"

namespace waep {

// Bounds of one session. Sizes are in bytes.
struct Limits {
  // If calls and frames cannot be larger than this, their memory is in use from the start and stays
  // in use. Otherwise the session's objects could take it.
  static constexpr uint64_t kResidentBytes = 4u << 20;

  uint64_t max_frame_bytes = 64u << 20;
  uint64_t max_call_bytes = 128u << 20;
  uint64_t max_buffers = 256;
  uint64_t max_relocations = 1u << 20;
  uint64_t max_handles = 4096;
  uint64_t max_streams = 64;
  uint64_t max_events_per_second = 0;  // 0: no bound
  uint64_t max_ring_bytes = 0;         // of perf buffers at a time; 0: no bound
};

// Numbers in closed ranges, in ascending order.
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

// A check of a word of the attribute.
struct WordCheck {
  uint32_t offset = 0;
  uint32_t width = 4;
  Ranges values;
};

// A check of every 32-bit word behind a pointer of the attribute.
struct WordsCheck {
  uint32_t pointer = 0;
  Ranges values;
};

// 8-byte records behind a pointer of the attribute. A check is about the records that match a
// pattern.
struct Records {
  uint32_t pointer = 0;
  uint32_t count = 0;  // the offset of their number in the attribute
  uint64_t mask = 0;
  uint64_t pattern = 0;

  [[nodiscard]] bool Has(uint64_t record) const { return (record & mask) == pattern; }
  // Returns whether a record that begins with this byte can match.
  [[nodiscard]] bool MayHave(uint8_t byte) const { return ((byte ^ pattern) & mask & 0xff) == 0; }
};

// A check of a number inside records.
struct RecordsCheck {
  Records records;
  uint32_t shift = 0;
  uint64_t value_mask = 0;
  Ranges values;
};

// A check of a text behind a pointer, or of `count` texts behind an array of pointers.
struct TextCheck {
  uint32_t pointer = 0;
  bool array = false;
  uint32_t count = 0;    // for an array: the offset of its length in the attribute
  uint64_t maximum = 0;  // the most bytes of a text that the kernel reads, with its NUL
  // Whether the patterns are paths. A path that ends in a slash stands for everything below it.
  // Otherwise the patterns are names with the wildcards * and ?.
  bool paths = false;
  std::vector<std::string> patterns;
};

// A bound on the amount that is in use at a time. The amount of a call is the constant plus its
// terms, times the word at `factor`.
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

// A check of the attribute's bytes from an offset on. They have no known meaning, so they must be
// zero.
struct RestCheck {
  uint32_t offset = 0;
};

// The objects that may be behind a descriptor: all except results of the refused commands. `use`
// says what the call does with the object. Only a relocation can name an object; a plain number is
// refused.
struct Objects {
  std::string use;
  Ranges refused;
};

// The condition under which a word is a descriptor.
struct Presence {
  enum Kind : uint64_t {
    kAlways,
    kNonzero,
    kFlag,      // if a bit of another word is set
    kUnless,    // unless it is zero, or a bit of another word is set
    kPositive,  // if it is positive as a signed number
    kPerhaps,   // unknown: it may also be a number that anybody may choose
  };
  Kind kind = kAlways;
  uint32_t offset = 0;
  uint64_t mask = 0;
};

// A check of a descriptor in the attribute, or in the structure that a word of the attribute points
// to.
struct DescriptorCheck {
  static constexpr uint32_t kAttribute = UINT32_MAX;
  uint32_t pointer = kAttribute;
  uint32_t offset = 0;
  Presence presence;
  Objects objects;
};

// A check of the descriptors behind a pointer. A word of the attribute has their number.
struct DescriptorsCheck {
  uint32_t pointer = 0;
  uint32_t count = 0;
  Objects objects;
};

// A check of a descriptor at byte `at` of records.
struct ReferencesCheck {
  Records records;
  uint32_t at = 0;
  Presence presence;
  Objects objects;
};

// A check of a signed index in records. It selects a descriptor of an array behind a pointer, and
// must not lead outside the array.
struct IndicesCheck {
  Records records;
  uint32_t shift = 0;
  uint32_t bits = 0;
  bool zero_is_none = false;
  uint32_t array = 0;
  Objects objects;
};

// A check of a descriptor in each key or value that a call passes, for maps of these types.
struct ElementsCheck {
  static constexpr uint32_t kOne = UINT32_MAX;
  uint32_t map = 0;  // the offset of the map's descriptor in the attribute
  Ranges types;
  uint32_t pointer = 0;
  uint32_t count = kOne;  // the offset of their number in the attribute
  bool keys = false;
  uint32_t at = 0;       // in bytes from the start of each
  uint32_t step = kOne;  // the bytes from one place in an element to the next
  Presence presence;
  Objects objects;
};

// A check of where probes may be: in which files, and at which places. The path is behind a
// pointer.
struct ProbesCheck {
  static constexpr uint32_t kOne = UINT32_MAX;
  struct Place {
    uint64_t offset;   // in the file
    uint64_t counter;  // the offset of the reference counter (ref_ctr_offset); 0: none
  };
  struct File {
    std::string path;
    std::string identity;  // distinguishes the file from later versions; empty: not checked
    std::vector<Place> places;
  };
  uint32_t path = 0;
  uint64_t maximum = 0;
  // The offset of the number of places in the attribute. The places, and their counters if there
  // are any, are then behind pointers. With kOne, a single place is in the attribute itself.
  uint32_t count = kOne;
  uint32_t offset = 0;
  uint32_t counter = 0;
  uint32_t shift = 0;  // of a single counter in its word, in bits
  std::vector<File> files;
};

// A check of the network interface whose index is in the attribute. It must have one of these names
// when the call is made.
struct InterfaceCheck {
  uint32_t offset = 0;
  std::vector<std::string> names;
};

// A kind of attributes of a netlink message.
struct NetlinkAttribute {
  enum Form : uint64_t { kBytes, kDescriptor, kText, kNested };
  uint32_t type = 0;
  bool required = false;
  Form form = kBytes;
  Objects objects;                       // for kDescriptor
  std::vector<std::string> texts;        // for kText: one of these
  std::vector<NetlinkAttribute> nested;  // for kNested
};

// A check of the attributes of a netlink message. The message has no others, each of them at most
// once, and each of them is well formed.
struct AttributesCheck {
  uint32_t offset = 0;  // of the first one
  std::vector<NetlinkAttribute> attributes;
};

// A condition that calls must satisfy.
struct Check {
  // A call must satisfy the check only if all of these hold. Each is about a 32-bit word of the
  // attribute: about its value, or about the type of the object whose descriptor it is.
  struct Condition {
    bool type;
    uint32_t offset;
    Ranges values;
  };
  std::string rule;
  std::vector<Condition> when;
  uint32_t vocabulary = 0;  // index + 1 of the names of its values; 0: none
  std::variant<WordCheck, WordsCheck, RecordsCheck, TextCheck, QuotaCheck, RestCheck,
               DescriptorCheck, DescriptorsCheck, ReferencesCheck, IndicesCheck, ElementsCheck,
               ProbesCheck, InterfaceCheck, AttributesCheck>
      what;
};

// The checks for calls of an operation.
struct Checks {
  std::vector<Check> all;
  // For each byte: whether a check can be about a record that begins with it.
  std::array<bool, 256> record_bytes = {};
  // The map types, one bit each, whose elements a check can be about. The map's descriptor is at
  // `element_map`. All bits are set if checks find it in different places.
  uint64_t element_types = 0;
  uint32_t element_map = 0;

  void Add(Check check);
  // Returns whether there are checks of elements, but none for maps of this type.
  [[nodiscard]] bool PassesElementsOf(uint32_t type) const {
    return element_types != 0 && type < 64 && (element_types >> type & 1) == 0;
  }
};

// The kind of the third argument of an ioctl(2).
enum class IoctlArgument : uint8_t { kNumber = 0, kHandle = 1, kBuffer = 2 };

// An ioctl(2) request that a session may make on its handles.
struct IoctlRule {
  std::string name;
  uint32_t request = 0;
  IoctlArgument argument = IoctlArgument::kNumber;
};

// A known message of netlink(7), and whether a session may send it.
struct NetlinkRule {
  static constexpr uint32_t kAnyFamily = UINT32_MAX;
  std::string name;
  bool allowed = false;
  uint32_t protocol = 0;
  uint32_t type = 0;
  uint32_t family = kAnyFamily;  // the first byte behind the message's header
  std::string generic;           // the family of NETLINK_GENERIC whose number is the type, if any
};

// A text of fixed size in the attribute.
struct CharactersFact {
  static constexpr uint32_t kMaxSize = 64;
  uint32_t offset = 0;
  uint32_t size = 0;
};

// A fact about a call for the audit log. It is found in the same way as the value of a check.
struct Fact {
  std::string label;
  uint32_t vocabulary = 0;
  std::variant<WordCheck, RecordsCheck, TextCheck, CharactersFact> where;
};

// How the audit log reports the calls of an operation.
struct Report {
  std::string event;
  std::vector<Fact> facts;
};

// The rights that the guest's owner gives a session, compiled from the policy. The rules also say
// where the fields of each command are.
struct Rules {
  static constexpr uint32_t kMaxCounters = 16;
  // Checks are for commands, and for these operations: perf_event_open(2), requests of ioctl(2),
  // and messages of netlink(7) by their index among the rules.
  static constexpr uint64_t kPerfOpen = 0x10000;
  static constexpr uint64_t kIoctls = uint64_t{1} << 32;
  static constexpr uint64_t kNetlink = uint64_t{1} << 33;

  uint64_t commands = 0;  // bit n allows command n
  bool other_commands = false;
  uint32_t known_flags = 0;   // beside the command's number
  uint32_t second_bytes = 0;  // of the second argument; bytes behind them must be zero
  bool perf_events = false;   // whether they are allowed
  std::vector<std::vector<std::string>> vocabularies;  // the first has the commands' names
  std::unordered_map<uint64_t, Checks> checks;         // by command, or other operation
  std::unordered_map<uint64_t, Report> reports;        // by operation
  Ranges pins;             // commands that let objects outlive their handles
  Ranges no_pointer_scan;  // commands whose attribute points to bytes, never to addresses
  Ranges foreign;          // commands that return foreign objects; unknown uses are refused
  std::vector<std::string> readable_paths;
  std::vector<std::string> pin_paths;
  std::vector<std::string> cgroup_paths;
  std::vector<IoctlRule> ioctls;
  std::vector<NetlinkRule> netlink;
  Limits limits;

  [[nodiscard]] bool AllowsCommand(uint32_t command) const {
    return command < 64 ? (commands >> command & 1) != 0 : other_commands;
  }
  // Returns whether a file may be read. A listed folder itself counts as a file.
  [[nodiscard]] bool AllowsPath(std::string_view path) const;
  // Returns whether a client may ask what is at a path: an allowed path, or a folder that leads to
  // one.
  [[nodiscard]] bool AllowsLook(std::string_view path) const;
  // Returns whether a client may list a folder.
  [[nodiscard]] bool AllowsListing(std::string_view path) const;
  // Returns whether a client may make a pin, or a folder for pins.
  [[nodiscard]] bool AllowsPin(std::string_view path) const;
  // Returns whether a client may make or remove a cgroup.
  [[nodiscard]] bool AllowsCgroup(std::string_view path) const;
  // Returns whether a path is allowed by itself, and not only by a folder above it.
  [[nodiscard]] bool NamesPath(std::string_view path) const;
  // Returns the rule for an ioctl(2) request, or null if there is none.
  [[nodiscard]] const IoctlRule* FindIoctl(uint32_t request) const;
  // Returns the rule for a message of netlink(7), or null if it is not known.
  [[nodiscard]] const NetlinkRule* FindNetlink(uint32_t protocol, uint32_t type, uint32_t family,
                                               const std::string& generic) const;
  [[nodiscard]] uint64_t OperationOf(const NetlinkRule& rule) const {
    return kNetlink + static_cast<uint64_t>(&rule - netlink.data());
  }
  // Returns the protocols of netlink(7) of which any message is allowed.
  [[nodiscard]] std::set<uint32_t> NetlinkProtocols() const;

  // Returns a value with its name, if the vocabulary (index plus one) has a name for it.
  [[nodiscard]] std::string Name(uint32_t vocabulary, uint64_t value) const;

  // Returns the name of a command or another operation.
  [[nodiscard]] std::string OperationName(uint64_t operation) const;

  // Decodes
  //   rules = [commands, otherCommands, [flags, secondBytes], perfEvents, [[name...]...],
  //            [check...], [report...], ranges, ranges, ranges, [path...], [path...],
  //            [path...], [[name, request, argument]...],
  //            [[name, allowed, protocol, type, family or false]...], [maxFrameBytes, maxCallBytes,
  //            maxBuffers, maxRelocations, maxHandles, maxStreams, maxEventsPerSecond,
  //            maxRingBytes]]
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
  //         15 attributes: offset, [attribute...]
  //   attribute = [type, required, form, ...]
  //     form 0 bytes                1 descriptor: objects
  //          2 text: [text...]      3 nested: [attribute...]
  //   report = [operation, event, [[label, vocabulary, kind, ...]...]], of kinds 0, 2, 3, 4 and
  //          6 characters: offset, size
  //   records = [pointer, count, mask, pattern], presence = [kind, offset, mask],
  //   objects = [use, ranges], ranges = [first, last, ...]
  [[nodiscard]] static bool Decode(cbor::Reader* reader, Rules* rules);
};

// Returns whether a path is one of `allowed`. Allowed paths that end in a slash stand for
// everything below them. False for relative paths and for paths with "..".
bool MatchesPath(std::string_view path, const std::vector<std::string>& allowed);

// Returns whether one of the patterns, with the wildcards * and ?, matches the whole text, and no
// pattern that begins with an exclamation mark does.
bool MatchesGlobs(std::string_view text, const std::vector<std::string>& patterns);

}  // namespace waep
