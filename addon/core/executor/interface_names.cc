// SPDX-License-Identifier: MIT
#include "interface_names.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../unique_fd.h"

namespace waep {
namespace {

unique_fd names;

}  // namespace

int OpenInterfaceNames(int first_fd) {
  // Sockets of every family answer SIOCGIFNAME, also in a kernel without internet protocols.
  const unique_fd low(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!low.valid()) return -errno;
  names.reset(::fcntl(low.get(), F_DUPFD_CLOEXEC, first_fd));
  return names.valid() ? 0 : -errno;
}

std::string InterfaceName(uint32_t index) {
  if (!names.valid() && OpenInterfaceNames(0) != 0) return {};
  ifreq request = {};
  request.ifr_ifindex = static_cast<int>(index);
  if (::ioctl(names.get(), SIOCGIFNAME, &request) < 0) return {};
  return std::string(request.ifr_name, ::strnlen(request.ifr_name, sizeof request.ifr_name));
}

}  // namespace waep
