// SPDX-License-Identifier: MIT
#include "text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "../unique_fd.h"

namespace waep {

std::string ReadText(int folder, const char* path) {
  std::string text;
  const unique_fd file(::openat(folder, path, O_RDONLY | O_CLOEXEC));
  char piece[4096];
  for (ssize_t got = 1; got > 0;) {
    got = ::read(file.get(), piece, sizeof piece);
    if (got > 0) text.append(piece, static_cast<size_t>(got));
  }
  return text;
}

}  // namespace waep
