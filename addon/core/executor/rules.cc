// SPDX-License-Identifier: MIT
#include "rules.h"

#include <algorithm>
#include <string_view>

namespace waep {
namespace {

constexpr uint64_t kMaxOffset = 4092;
constexpr unsigned kMaxDepth = 4;  // of attributes in attributes

bool ReadOffset(cbor::Reader* reader, uint32_t* offset) {
  uint64_t value = 0;
  if (!reader->ReadUint(kMaxOffset, &value)) return false;
  *offset = static_cast<uint32_t>(value);
  return true;
}

bool ReadRanges(cbor::Reader* reader, Ranges* ranges) {
  uint64_t count = 0;
  if (!reader->ReadArray(&count) || count % 2 != 0) return false;
  ranges->ranges.resize(count / 2);
  for (Ranges::Range& range : ranges->ranges) {
    if (!reader->ReadUint(&range.first) || !reader->ReadUint(&range.last)) return false;
  }
  return true;
}

bool ReadTexts(cbor::Reader* reader, std::vector<std::string>* texts) {
  uint64_t count = 0;
  if (!reader->ReadArray(&count)) return false;
  texts->resize(count);
  for (std::string& text : *texts) {
    std::string_view view;
    if (!reader->ReadText(&view)) return false;
    text = view;
  }
  return true;
}

// Reads an offset. If `false` is in its place, the result is `none`.
bool ReadOptional(cbor::Reader* reader, uint32_t none, uint32_t* offset) {
  bool given = false;
  if (!reader->ReadBool(&given)) return ReadOffset(reader, offset);
  *offset = none;
  return !given;
}

bool ReadWord(cbor::Reader* reader, WordCheck* check) {
  uint64_t width = 0;
  if (!ReadOffset(reader, &check->offset) || !reader->ReadUint(8, &width)) return false;
  check->width = static_cast<uint32_t>(width);
  return ReadRanges(reader, &check->values);
}

bool ReadRecordsOf(cbor::Reader* reader, Records* records) {
  return reader->ReadArrayOf(4) && ReadOffset(reader, &records->pointer) &&
         ReadOffset(reader, &records->count) && reader->ReadUint(&records->mask) &&
         reader->ReadUint(&records->pattern);
}

bool ReadRecords(cbor::Reader* reader, RecordsCheck* check) {
  uint64_t shift = 0;
  if (!ReadRecordsOf(reader, &check->records) || !reader->ReadUint(63, &shift) ||
      !reader->ReadUint(&check->value_mask)) {
    return false;
  }
  check->shift = static_cast<uint32_t>(shift);
  return ReadRanges(reader, &check->values);
}

bool ReadText(cbor::Reader* reader, bool array, TextCheck* check) {
  check->array = array;
  return ReadOffset(reader, &check->pointer) && (!array || ReadOffset(reader, &check->count)) &&
         reader->ReadUint(UINT32_MAX, &check->maximum) && reader->ReadBool(&check->paths) &&
         ReadTexts(reader, &check->patterns);
}

bool ReadPresence(cbor::Reader* reader, Presence* presence) {
  uint64_t kind = 0;
  if (!reader->ReadArrayOf(3) || !reader->ReadUint(Presence::kPerhaps, &kind)) return false;
  presence->kind = static_cast<Presence::Kind>(kind);
  return ReadOffset(reader, &presence->offset) && reader->ReadUint(&presence->mask);
}

bool ReadObjects(cbor::Reader* reader, Objects* objects) {
  std::string_view use;
  if (!reader->ReadArrayOf(2) || !reader->ReadText(&use)) return false;
  objects->use = use;
  return ReadRanges(reader, &objects->refused);
}

bool ReadDescriptor(cbor::Reader* reader, DescriptorCheck* check) {
  return ReadOptional(reader, DescriptorCheck::kAttribute, &check->pointer) &&
         ReadOffset(reader, &check->offset) && ReadPresence(reader, &check->presence) &&
         ReadObjects(reader, &check->objects);
}

bool ReadReferences(cbor::Reader* reader, ReferencesCheck* check) {
  return ReadRecordsOf(reader, &check->records) && ReadOffset(reader, &check->at) &&
         ReadPresence(reader, &check->presence) && ReadObjects(reader, &check->objects);
}

bool ReadIndices(cbor::Reader* reader, IndicesCheck* check) {
  uint64_t shift = 0;
  uint64_t bits = 0;
  if (!ReadRecordsOf(reader, &check->records) || !reader->ReadUint(63, &shift) ||
      !reader->ReadUint(32, &bits) || bits == 0 || shift + bits > 64) {
    return false;
  }
  check->shift = static_cast<uint32_t>(shift);
  check->bits = static_cast<uint32_t>(bits);
  return reader->ReadBool(&check->zero_is_none) && ReadOffset(reader, &check->array) &&
         ReadObjects(reader, &check->objects);
}

bool ReadElements(cbor::Reader* reader, ElementsCheck* check) {
  return ReadOffset(reader, &check->map) && ReadRanges(reader, &check->types) &&
         ReadOffset(reader, &check->pointer) &&
         ReadOptional(reader, ElementsCheck::kOne, &check->count) &&
         reader->ReadBool(&check->keys) && ReadOffset(reader, &check->at) &&
         ReadOptional(reader, ElementsCheck::kOne, &check->step) && check->step != 0 &&
         ReadPresence(reader, &check->presence) && ReadObjects(reader, &check->objects);
}

bool ReadProbes(cbor::Reader* reader, ProbesCheck* check) {
  uint64_t shift = 0;
  uint64_t files = 0;
  if (!ReadOffset(reader, &check->path) || !reader->ReadUint(UINT32_MAX, &check->maximum) ||
      !ReadOptional(reader, ProbesCheck::kOne, &check->count) ||
      !ReadOffset(reader, &check->offset) || !ReadOffset(reader, &check->counter) ||
      !reader->ReadUint(63, &shift) || !reader->ReadArray(&files)) {
    return false;
  }
  check->shift = static_cast<uint32_t>(shift);
  check->files.resize(files);
  for (ProbesCheck::File& file : check->files) {
    uint64_t numbers = 0;
    std::string_view path;
    std::string_view identity;
    if (!reader->ReadArrayOf(3) || !reader->ReadText(&path) || !reader->ReadText(&identity) ||
        !reader->ReadArray(&numbers) || numbers % 2 != 0) {
      return false;
    }
    file.path = path;
    file.identity = identity;
    file.places.resize(numbers / 2);
    for (ProbesCheck::Place& place : file.places) {
      if (!reader->ReadUint(&place.offset) || !reader->ReadUint(&place.counter)) return false;
    }
  }
  return true;
}

bool ReadAttributes(cbor::Reader* reader, unsigned depth, std::vector<NetlinkAttribute>* list) {
  uint64_t count = 0;
  if (depth > kMaxDepth || !reader->ReadArray(&count)) return false;
  list->resize(count);
  for (NetlinkAttribute& attribute : *list) {
    uint64_t items = 0;
    uint64_t type = 0;
    uint64_t form = 0;
    if (!reader->ReadArray(&items) || !reader->ReadUint(UINT16_MAX, &type) ||
        !reader->ReadBool(&attribute.required) ||
        !reader->ReadUint(NetlinkAttribute::kNested, &form) ||
        items != (form == NetlinkAttribute::kBytes ? 3u : 4u)) {
      return false;
    }
    attribute.type = static_cast<uint32_t>(type);
    attribute.form = static_cast<NetlinkAttribute::Form>(form);
    const bool valid =
        form == NetlinkAttribute::kDescriptor ? ReadObjects(reader, &attribute.objects)
        : form == NetlinkAttribute::kText     ? ReadTexts(reader, &attribute.texts)
        : form == NetlinkAttribute::kNested   ? ReadAttributes(reader, depth + 1, &attribute.nested)
                                              : true;
    if (!valid) return false;
  }
  return true;
}

bool ReadQuota(cbor::Reader* reader, QuotaCheck* check) {
  uint64_t counter = 0;
  uint64_t terms = 0;
  if (!reader->ReadUint(Rules::kMaxCounters - 1, &counter) || !reader->ReadUint(&check->maximum) ||
      !reader->ReadUint(&check->constant) || !reader->ReadArray(&terms)) {
    return false;
  }
  check->counter = static_cast<uint32_t>(counter);
  check->terms.resize(terms);
  for (QuotaCheck::Term& term : check->terms) {
    if (!reader->ReadArrayOf(3) || !ReadOffset(reader, &term.offset) ||
        !reader->ReadUint(UINT32_MAX, &term.round) ||
        !reader->ReadUint(UINT32_MAX, &term.multiplier) || term.round == 0) {
      return false;
    }
  }
  return ReadOptional(reader, QuotaCheck::kNoFactor, &check->factor);
}

enum Kind : uint64_t {
  kWord,
  kWords,
  kRecords,
  kText,
  kTexts,
  kQuota,
  kCharacters,
  kRest,
  kDescriptor,
  kDescriptors,
  kReferences,
  kIndices,
  kElements,
  kProbes,
  kInterface,
  kAttributes
};

bool ReadFact(cbor::Reader* reader, Fact* fact) {
  uint64_t items = 0;
  uint64_t vocabulary = 0;
  uint64_t kind = 0;
  std::string_view label;
  if (!reader->ReadArray(&items) || !reader->ReadText(&label) ||
      !reader->ReadUint(UINT32_MAX, &vocabulary) || !reader->ReadUint(&kind)) {
    return false;
  }
  fact->label = label;
  fact->vocabulary = static_cast<uint32_t>(vocabulary);
  switch (kind) {
    case kWord:
      return items == 6 && ReadWord(reader, &fact->where.emplace<WordCheck>());
    case kRecords:
      return items == 7 && ReadRecords(reader, &fact->where.emplace<RecordsCheck>());
    case kText:
    case kTexts:
      return items == (kind == kTexts ? 8u : 7u) &&
             ReadText(reader, kind == kTexts, &fact->where.emplace<TextCheck>());
    case kCharacters: {
      auto& characters = fact->where.emplace<CharactersFact>();
      uint64_t size = 0;
      if (items != 5 || !ReadOffset(reader, &characters.offset) ||
          !reader->ReadUint(CharactersFact::kMaxSize, &size)) {
        return false;
      }
      characters.size = static_cast<uint32_t>(size);
      return true;
    }
    default:
      return false;
  }
}

bool ReadReport(cbor::Reader* reader, uint64_t* operation, Report* report) {
  uint64_t facts = 0;
  std::string_view event;
  if (!reader->ReadArrayOf(3) || !reader->ReadUint(operation) || !reader->ReadText(&event) ||
      !reader->ReadArray(&facts)) {
    return false;
  }
  report->event = event;
  report->facts.resize(facts);
  for (Fact& fact : report->facts) {
    if (!ReadFact(reader, &fact)) return false;
  }
  return true;
}

bool ReadCheck(cbor::Reader* reader, uint64_t* operation, Check* check) {
  uint64_t items = 0;
  uint64_t conditions = 0;
  uint64_t vocabulary = 0;
  uint64_t kind = 0;
  std::string_view rule;
  if (!reader->ReadArray(&items) || !reader->ReadText(&rule) || !reader->ReadUint(operation) ||
      !reader->ReadArray(&conditions)) {
    return false;
  }
  check->rule = rule;
  check->when.resize(conditions);
  for (Check::Condition& condition : check->when) {
    if (!reader->ReadArrayOf(3) || !reader->ReadBool(&condition.type) ||
        !ReadOffset(reader, &condition.offset) || !ReadRanges(reader, &condition.values)) {
      return false;
    }
  }
  if (!reader->ReadUint(UINT32_MAX, &vocabulary) || !reader->ReadUint(&kind)) return false;
  check->vocabulary = static_cast<uint32_t>(vocabulary);
  constexpr uint64_t kItems[] = {3, 2, 4, 4, 5, 5, 0, 1, 4, 3, 4, 6, 9, 7, 2, 2};
  if (kind > kAttributes || items != 5 + kItems[kind]) return false;
  switch (kind) {
    case kWord:
      return ReadWord(reader, &check->what.emplace<WordCheck>());
    case kWords: {
      auto& words = check->what.emplace<WordsCheck>();
      return ReadOffset(reader, &words.pointer) && ReadRanges(reader, &words.values);
    }
    case kRecords:
      return ReadRecords(reader, &check->what.emplace<RecordsCheck>());
    case kText:
    case kTexts:
      return ReadText(reader, kind == kTexts, &check->what.emplace<TextCheck>());
    case kQuota:
      return ReadQuota(reader, &check->what.emplace<QuotaCheck>());
    case kRest:
      return ReadOffset(reader, &check->what.emplace<RestCheck>().offset);
    case kDescriptor:
      return ReadDescriptor(reader, &check->what.emplace<DescriptorCheck>());
    case kDescriptors: {
      auto& descriptors = check->what.emplace<DescriptorsCheck>();
      return ReadOffset(reader, &descriptors.pointer) && ReadOffset(reader, &descriptors.count) &&
             ReadObjects(reader, &descriptors.objects);
    }
    case kReferences:
      return ReadReferences(reader, &check->what.emplace<ReferencesCheck>());
    case kIndices:
      return ReadIndices(reader, &check->what.emplace<IndicesCheck>());
    case kElements:
      return ReadElements(reader, &check->what.emplace<ElementsCheck>());
    case kProbes:
      return ReadProbes(reader, &check->what.emplace<ProbesCheck>());
    case kInterface: {
      auto& interface = check->what.emplace<InterfaceCheck>();
      return ReadOffset(reader, &interface.offset) && ReadTexts(reader, &interface.names);
    }
    case kAttributes: {
      auto& attributes = check->what.emplace<AttributesCheck>();
      return ReadOffset(reader, &attributes.offset) &&
             ReadAttributes(reader, 0, &attributes.attributes);
    }
    default:
      return false;
  }
}

const Records* RecordsOf(const Check& check) {
  if (const auto* const what = std::get_if<RecordsCheck>(&check.what)) return &what->records;
  if (const auto* const what = std::get_if<ReferencesCheck>(&check.what)) return &what->records;
  if (const auto* const what = std::get_if<IndicesCheck>(&check.what)) return &what->records;
  return nullptr;
}

bool MatchesGlob(std::string_view text, std::string_view pattern) {
  size_t at = 0;
  size_t in = 0;
  size_t star = std::string_view::npos;  // the last * so far, and the place in the text then
  size_t resume = 0;
  while (at < text.size()) {
    if (in < pattern.size() && pattern[in] == '*') {
      star = in++;
      resume = at;
    } else if (in < pattern.size() && (pattern[in] == '?' || pattern[in] == text[at])) {
      ++in;
      ++at;
    } else if (star != std::string_view::npos) {
      in = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  while (in < pattern.size() && pattern[in] == '*') ++in;
  return in == pattern.size();
}

// A path must not lead out of the folder that a rule names.
bool IsPlain(std::string_view path) {
  return !path.empty() && path.front() == '/' && path.find('\0') == std::string_view::npos &&
         path.find("/../") == std::string_view::npos &&
         (path.size() < 3 || path.substr(path.size() - 3) != "/..");
}

}  // namespace

void Checks::Add(Check check) {
  const Records* const records = RecordsOf(check);
  for (size_t byte = 0; records != nullptr && byte < record_bytes.size(); ++byte) {
    record_bytes[byte] = record_bytes[byte] || records->MayHave(static_cast<uint8_t>(byte));
  }
  if (const auto* const what = std::get_if<ElementsCheck>(&check.what)) {
    const bool elsewhere = element_types != 0 && element_map != what->map;
    for (uint32_t type = 0; type < 64; ++type) {
      if (elsewhere || what->types.Contains(type)) element_types |= uint64_t{1} << type;
    }
    element_map = what->map;
  }
  all.push_back(std::move(check));
}

bool MatchesPath(std::string_view path, const std::vector<std::string>& allowed) {
  if (!IsPlain(path)) return false;
  for (const std::string& one : allowed) {
    const bool is_folder = !one.empty() && one.back() == '/';
    if (is_folder ? path.substr(0, one.size()) == one : path == one) return true;
  }
  return false;
}

const IoctlRule* Rules::FindIoctl(uint32_t request) const {
  const auto found = std::find_if(ioctls.begin(), ioctls.end(),
                                  [=](const IoctlRule& rule) { return rule.request == request; });
  return found == ioctls.end() ? nullptr : &*found;
}

const NetlinkRule* Rules::FindNetlink(uint32_t protocol, uint32_t type, uint32_t family,
                                      const std::string& generic) const {
  const auto found = std::find_if(netlink.begin(), netlink.end(), [&](const NetlinkRule& rule) {
    return rule.protocol == protocol &&
           (rule.generic.empty() ? rule.type == type : rule.generic == generic) &&
           (rule.family == NetlinkRule::kAnyFamily || rule.family == family);
  });
  return found == netlink.end() ? nullptr : &*found;
}

std::set<uint32_t> Rules::NetlinkProtocols() const {
  std::set<uint32_t> protocols;
  for (const NetlinkRule& rule : netlink) {
    if (rule.allowed) protocols.insert(rule.protocol);
  }
  return protocols;
}

bool MatchesGlobs(std::string_view text, const std::vector<std::string>& patterns) {
  bool matches = false;
  for (const std::string_view pattern : patterns) {
    if (pattern.empty() || pattern.front() != '!') {
      matches = matches || MatchesGlob(text, pattern);
    } else if (MatchesGlob(text, pattern.substr(1))) {
      return false;
    }
  }
  return matches;
}

namespace {

// Like MatchesPath, but an allowed folder matches itself as well.
bool MatchesFolder(std::string_view path, const std::vector<std::string>& allowed) {
  return MatchesPath(path, allowed) ||
         (IsPlain(path) && MatchesPath(std::string(path) + "/", allowed));
}

// Like MatchesPath, for what is changed in its parent folder. So the path must end with a name: "."
// and nothing stand for the folder itself.
bool MatchesEntry(std::string_view path, const std::vector<std::string>& allowed) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return !name.empty() && name != "." && MatchesPath(path, allowed);
}

// Returns whether a folder is on the way to an allowed one.
bool LeadsTo(std::string path, const std::vector<std::string>& allowed) {
  if (!IsPlain(path)) return false;
  if (path.back() != '/') path += '/';
  return std::any_of(allowed.begin(), allowed.end(), [&path](const std::string& one) {
    return std::string_view(one).substr(0, path.size()) == path;
  });
}

}  // namespace

bool Rules::AllowsPath(std::string_view path) const { return MatchesFolder(path, readable_paths); }

bool Rules::AllowsLook(std::string_view path) const {
  return AllowsListing(path) || LeadsTo(std::string(path), readable_paths) ||
         LeadsTo(std::string(path), pin_paths) || LeadsTo(std::string(path), cgroup_paths);
}

bool Rules::AllowsListing(std::string_view path) const {
  return MatchesFolder(path, readable_paths) || MatchesFolder(path, pin_paths) ||
         MatchesFolder(path, cgroup_paths);
}

bool Rules::AllowsPin(std::string_view path) const { return MatchesEntry(path, pin_paths); }

bool Rules::AllowsCgroup(std::string_view path) const { return MatchesEntry(path, cgroup_paths); }

bool Rules::NamesPath(std::string_view path) const {
  return std::find(readable_paths.begin(), readable_paths.end(), path) != readable_paths.end();
}

std::string Rules::Name(uint32_t vocabulary, uint64_t value) const {
  const std::string number = std::to_string(value);
  if (vocabulary == 0 || vocabulary > vocabularies.size()) return number;
  const std::vector<std::string>& names = vocabularies[vocabulary - 1];
  if (value >= names.size() || names[value].empty()) return number;
  return names[value] + " (" + number + ")";
}

std::string Rules::OperationName(uint64_t operation) const {
  if (operation < kPerfOpen) return Name(1, operation);
  if (operation == kPerfOpen) return "perf_event_open";
  if (operation >= kNetlink) return netlink[operation - kNetlink].name;
  const IoctlRule* const rule = FindIoctl(static_cast<uint32_t>(operation - kIoctls));
  return rule == nullptr ? "ioctl" : rule->name;
}

bool Rules::Decode(cbor::Reader* reader, Rules* rules) {
  uint64_t count = 0;
  uint64_t flags = 0;
  uint64_t second_bytes = 0;
  if (!reader->ReadArrayOf(16) || !reader->ReadUint(&rules->commands) ||
      !reader->ReadBool(&rules->other_commands) || !reader->ReadArrayOf(2) ||
      !reader->ReadUint(UINT32_MAX, &flags) || !reader->ReadUint(UINT32_MAX, &second_bytes) ||
      !reader->ReadBool(&rules->perf_events) || !reader->ReadArray(&count)) {
    return false;
  }
  rules->known_flags = static_cast<uint32_t>(flags);
  rules->second_bytes = static_cast<uint32_t>(second_bytes);
  rules->vocabularies.resize(count);
  for (auto& names : rules->vocabularies) {
    if (!ReadTexts(reader, &names)) return false;
  }
  if (!reader->ReadArray(&count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t operation = 0;
    Check check;
    if (!ReadCheck(reader, &operation, &check)) return false;
    rules->checks[operation].Add(std::move(check));
  }
  if (!reader->ReadArray(&count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t operation = 0;
    Report report;
    if (!ReadReport(reader, &operation, &report)) return false;
    rules->reports[operation] = std::move(report);
  }
  if (!ReadRanges(reader, &rules->pins) || !ReadRanges(reader, &rules->no_pointer_scan) ||
      !ReadRanges(reader, &rules->foreign) || !ReadTexts(reader, &rules->readable_paths) ||
      !ReadTexts(reader, &rules->pin_paths) || !ReadTexts(reader, &rules->cgroup_paths)) {
    return false;
  }
  if (!reader->ReadArray(&count)) return false;
  rules->ioctls.resize(count);
  for (IoctlRule& rule : rules->ioctls) {
    std::string_view name;
    uint64_t request = 0;
    uint64_t argument = 0;
    if (!reader->ReadArrayOf(3) || !reader->ReadText(&name) ||
        !reader->ReadUint(UINT32_MAX, &request) || !reader->ReadUint(2, &argument)) {
      return false;
    }
    rule.name = name;
    rule.request = static_cast<uint32_t>(request);
    rule.argument = static_cast<IoctlArgument>(argument);
  }
  if (!reader->ReadArray(&count)) return false;
  rules->netlink.resize(count);
  for (NetlinkRule& rule : rules->netlink) {
    std::string_view name;
    uint64_t protocol = 0;
    uint64_t type = 0;
    std::string_view generic;
    if (!reader->ReadArrayOf(6) || !reader->ReadText(&name) || !reader->ReadBool(&rule.allowed) ||
        !reader->ReadUint(UINT32_MAX, &protocol) || !reader->ReadUint(UINT16_MAX, &type) ||
        !ReadOptional(reader, NetlinkRule::kAnyFamily, &rule.family) ||
        !reader->ReadText(&generic)) {
      return false;
    }
    rule.name = name;
    rule.protocol = static_cast<uint32_t>(protocol);
    rule.type = static_cast<uint32_t>(type);
    rule.generic = generic;
  }
  Limits& limits = rules->limits;
  return reader->ReadArrayOf(8) && reader->ReadUint(1u << 30, &limits.max_frame_bytes) &&
         reader->ReadUint(1u << 30, &limits.max_call_bytes) &&
         reader->ReadUint(1u << 16, &limits.max_buffers) &&
         reader->ReadUint(1u << 24, &limits.max_relocations) &&
         reader->ReadUint(1u << 20, &limits.max_handles) &&
         reader->ReadUint(1u << 10, &limits.max_streams) &&
         reader->ReadUint(1u << 30, &limits.max_events_per_second) &&
         reader->ReadUint(&limits.max_ring_bytes);
}

}  // namespace waep
