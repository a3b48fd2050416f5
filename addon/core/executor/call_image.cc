// SPDX-License-Identifier: MIT
#include "call_image.h"

#include <algorithm>

namespace waep {

const CallImage::Relocation* CallImage::FindRelocation(uint32_t buffer, size_t offset) const {
  const auto found = std::lower_bound(relocations.begin(), relocations.end(), offset,
                                      [buffer](const Relocation& relocation, size_t wanted) {
                                        return relocation.buffer != buffer
                                                   ? relocation.buffer < buffer
                                                   : relocation.offset < wanted;
                                      });
  const bool there =
      found != relocations.end() && found->buffer == buffer && found->offset == offset;
  return there ? &*found : nullptr;
}

CallImage::Stretch CallImage::Behind(uint32_t buffer, size_t offset) const {
  const Relocation* const found = RelocationAt(buffer, offset);
  Stretch stretch;
  if (found != nullptr && found->kind == kPointer) {
    const Buffer& target = buffers[found->target];
    stretch.kind = Stretch::kBytes;
    stretch.buffer = found->target;
    stretch.data = reinterpret_cast<const uint8_t*>(static_cast<uintptr_t>(found->value));
    stretch.offset = static_cast<size_t>(stretch.data - target.memory);
    stretch.size = target.size - stretch.offset;
    return stretch;
  }
  uint64_t word = 0;
  const Buffer& where = buffers[buffer];
  if (offset < where.size) {
    std::memcpy(&word, where.memory + offset, std::min<size_t>(8, where.size - offset));
  }
  if (word != 0) stretch.kind = Stretch::kUnknown;
  return stretch;
}

}  // namespace waep
