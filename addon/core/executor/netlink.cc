// SPDX-License-Identifier: MIT
#include "netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
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

std::vector<uint8_t> FamilyQuestion(uint16_t number) {
  struct {
    nlmsghdr header;
    genlmsghdr command;
    nlattr attribute;
    uint16_t number;
    uint16_t padding;
  } question = {};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = GENL_ID_CTRL;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.command.cmd = CTRL_CMD_GETFAMILY;
  question.attribute.nla_len = NLA_HDRLEN + sizeof question.number;
  question.attribute.nla_type = CTRL_ATTR_FAMILY_ID;
  question.number = number;
  std::vector<uint8_t> bytes(sizeof question);
  std::memcpy(bytes.data(), &question, sizeof question);
  return bytes;
}

std::string FamilyName(const std::vector<uint8_t>& answer) {
  nlmsghdr header = {};
  if (answer.size() < kLengthBytes + sizeof header) return "";
  std::memcpy(&header, answer.data() + kLengthBytes, sizeof header);
  if (header.nlmsg_type != GENL_ID_CTRL) return "";
  const size_t end =
      kLengthBytes + std::min<size_t>(header.nlmsg_len, answer.size() - kLengthBytes);
  nlattr attribute = {};
  for (size_t at = kLengthBytes + NLMSG_HDRLEN + GENL_HDRLEN; at + sizeof attribute <= end;
       at += NLA_ALIGN(attribute.nla_len)) {
    std::memcpy(&attribute, answer.data() + at, sizeof attribute);
    if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > end - at) return "";
    if (attribute.nla_type != CTRL_ATTR_FAMILY_NAME) continue;
    const auto* const text = reinterpret_cast<const char*>(answer.data() + at + NLA_HDRLEN);
    return std::string(text, ::strnlen(text, attribute.nla_len - NLA_HDRLEN));
  }
  return "";
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
