// SPDX-License-Identifier: MIT
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "../unique_fd.h"

namespace waep {

// Where the control thread leaves the connection that a session goes on with, and the call loop,
// which has nothing to do with this as long as its connection lives, comes for it.
class ConnectionSlot {
 public:
  // Hands over a connection. The one that is served ends: whoever resumes a session knows that it
  // is lost, which may not be seen from here yet.
  void Put(unique_fd connection, uint32_t lease_ms);

  // There is nothing to serve any more: the connection that is served ends, and no other one comes.
  void End();

  // Closes the connection that was served, and returns the one to serve next, or -1 when none has
  // come within the lease of the last. Waits for the first as long as it takes.
  int Next();

  // Whether Next would not wait.
  [[nodiscard]] bool has_next();

  // How long Next would wait now.
  [[nodiscard]] uint32_t lease_ms();

 private:
  std::mutex mutex_;
  std::condition_variable put_;
  unique_fd served_;
  unique_fd next_;
  uint32_t lease_ms_ = 0;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace waep
