// SPDX-License-Identifier: MIT
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "../unique_fd.h"

namespace waep {

// Passes the next connection of a session from the control thread to the call loop. The call loop
// takes it when its present connection has ended.
class ConnectionSlot {
 public:
  // Passes a connection to the call loop. The present connection ends: a client that resumes its
  // session knows that the connection is lost, even if this side has not noticed.
  void Put(unique_fd connection, uint32_t lease_ms);

  // Ends the present connection. No other one will come.
  void End();

  // Closes the last connection and returns the next one, or -1 if none came within the lease of the
  // last. Waits for the first connection without bound.
  int Next();

  // Returns whether Next would return at once.
  [[nodiscard]] bool has_next();

  // Returns how long Next would wait now.
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
