// SPDX-License-Identifier: MIT
#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "../unique_fd.h"

namespace waep {
namespace {

constexpr size_t kLengthBytes = 4;

int Open(const NetlinkRequest& request, unique_fd* opened) {
  unique_fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        static_cast<int>(request.protocol)));
  if (!fd.valid()) return -errno;
  static constexpr struct {
    uint32_t bit;
    int option;
  } kOptions[] = {{NetlinkRequest::kExtendedAck, NETLINK_EXT_ACK},
                  {NetlinkRequest::kCappedAck, NETLINK_CAP_ACK},
                  {NetlinkRequest::kStrictCheck, NETLINK_GET_STRICT_CHK}};
  for (const auto& [bit, option] : kOptions) {
    const int on = 1;
    if ((request.options & bit) != 0 &&
        ::setsockopt(fd.get(), SOL_NETLINK, option, &on, sizeof on) < 0) {
      return -errno;
    }
  }
  *opened = std::move(fd);
  return 0;
}

}  // namespace

NetlinkOutcome ExchangeNetlink(const NetlinkRequest& request, std::vector<uint8_t>* answer) {
  unique_fd fd;
  const int error = Open(request, &fd);
  if (error != 0) return {-error, false};
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd.get(), request.message, request.size, 0, reinterpret_cast<sockaddr*>(&kernel),
               sizeof kernel) < 0) {
    return {errno, false};
  }
  // The kernel has put its answer into the socket before the call returns. It makes the next part
  // of a long answer when a part is received. So the answer is complete when nothing is there.
  for (;;) {
    const ssize_t size = ::recv(fd.get(), nullptr, 0, MSG_PEEK | MSG_TRUNC);
    if (size < 0 && errno == EAGAIN) return {0, true};
    if (size < 0) return {errno, true};
    const auto length = static_cast<uint32_t>(size);
    const size_t start = answer->size();
    const size_t padded = (size_t{length} + 3) & ~size_t{3};
    if (kLengthBytes + padded > request.most - std::min(request.most, start)) return {EFBIG, true};
    answer->resize(start + kLengthBytes + padded);
    std::memcpy(answer->data() + start, &length, sizeof length);
    const ssize_t got = ::recv(fd.get(), answer->data() + start + kLengthBytes, length, 0);
    if (got < 0) return {errno, true};
    if (got != size) return {EPROTO, true};
  }
}

int NetlinkError(const std::vector<uint8_t>& answer) {
  nlmsghdr header = {};
  int32_t error = 0;
  if (answer.size() < kLengthBytes + sizeof header + sizeof error) return 0;
  std::memcpy(&header, answer.data() + kLengthBytes, sizeof header);
  if (header.nlmsg_type != NLMSG_ERROR) return 0;
  std::memcpy(&error, answer.data() + kLengthBytes + sizeof header, sizeof error);
  return -error;
}

}  // namespace waep
