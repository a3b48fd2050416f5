// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <algorithm>

#include "../core/supervisor/seccomp_listener.h"
#include "arguments.h"

namespace waep {

// A notification as a BigUint64Array: id, thread, architecture, number, arguments, lost.
struct NotificationWords {
  static constexpr size_t kCount = 11;

  static void Put(const seccomp::Notification& notification, uint64_t* words) {
    words[0] = notification.id;
    words[1] = notification.thread;
    words[2] = notification.architecture;
    words[3] = static_cast<uint32_t>(notification.number);
    std::copy_n(notification.arguments, 6, words + 4);
    words[10] = notification.lost;
  }

  static seccomp::Notification Get(const Napi::Value& value) {
    const arguments::Bytes bytes = arguments::View(value);
    seccomp::Notification notification;
    if (bytes.size < kCount * sizeof(uint64_t)) return notification;
    const auto* const words = reinterpret_cast<const uint64_t*>(bytes.data);
    notification.id = words[0];
    notification.thread = static_cast<uint32_t>(words[1]);
    notification.architecture = static_cast<uint32_t>(words[2]);
    notification.number = static_cast<int32_t>(words[3]);
    std::copy_n(words + 4, 6, notification.arguments);
    notification.lost = words[10];
    return notification;
  }
};

}  // namespace waep
