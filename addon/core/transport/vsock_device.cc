// SPDX-License-Identifier: MIT
#include "vsock_device.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace waep {
namespace {

using vsock::Header;

constexpr uint64_t kNsPerSecond = 1000 * 1000 * 1000;
// How long the kernel waits for a peer's answer to a close (VSOCK_CLOSE_TIMEOUT).
constexpr uint64_t kCloseTimeoutNs = 8 * kNsPerSecond;
// Bounds the work of one call, so that the event loop's other work is not delayed.
constexpr size_t kMaxPacketsAtOnce = 256;
constexpr size_t kMaxMessagesAtOnce = 64;
// How many answers to packets of unknown connections may wait. Only a guest that does not take them
// can cause more.
constexpr size_t kMaxRefusals = 8192;
constexpr size_t kMaxPacketBytes = VsockConnection::kMaxPacketBytes;
// When buffers make up so large a part of the transmit queue, or so many bytes, they are given back
// at once, because the driver may need them for its next packets.
constexpr uint32_t kMuch = 8;
constexpr size_t kMuchBytes = 64 * 1024;
// On other hosts, lower ports need a privilege, so none of them is chosen automatically.
constexpr uint32_t kFirstFreePort = 1024;

// The kinds of descriptors in epoll.
enum Tag : uint32_t { kListening, kVmm, kReceiveKick, kTransmitKick, kAgain, kClock };

uint64_t NowNs() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

int Add(const unique_fd& epoll, int fd, uint32_t events, Tag tag) {
  epoll_event event = {};
  event.events = events;
  event.data.u32 = tag;
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void Clear(const unique_fd& counter) {
  uint64_t value;
  [[maybe_unused]] const ssize_t got = ::read(counter.get(), &value, sizeof value);
}

uint64_t Key(uint32_t local_port, uint32_t peer_port) {
  return static_cast<uint64_t>(local_port) << 32 | peer_port;
}

// Listens on a path that nobody else listens on. Replaces a socket file whose owner is gone.
int ListenOn(const char* path, unique_fd* listening) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof name.sun_path) return -ENAMETOOLONG;
  std::strcpy(name.sun_path, path);
  const auto* const address = reinterpret_cast<const sockaddr*>(&name);
  const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  unique_fd fd(::socket(AF_UNIX, type, 0));
  if (!fd.valid()) return -errno;
  int result = ::bind(fd.get(), address, sizeof name);
  if (result < 0 && errno == EADDRINUSE) {
    const unique_fd probe(::socket(AF_UNIX, type, 0));
    struct stat status = {};
    const bool stale = ::connect(probe.get(), address, sizeof name) < 0 && errno == ECONNREFUSED &&
                       ::lstat(path, &status) == 0 && S_ISSOCK(status.st_mode);
    if (!stale) return -EADDRINUSE;
    ::unlink(path);
    result = ::bind(fd.get(), address, sizeof name);
  }
  if (result < 0) return -errno;
  // The first process to connect provides the guest. Nobody can connect before listen(2).
  if (::chmod(path, S_IRUSR | S_IWUSR) < 0 || ::listen(fd.get(), 1) < 0) {
    const int error = errno;
    ::unlink(path);
    return -error;
  }
  *listening = std::move(fd);
  return 0;
}

}  // namespace

const VsockDevice::Handler VsockDevice::kHandlers[] = {
    nullptr,
    nullptr,  // kRequest, which has no stream yet
    &VsockDevice::OnResponse,
    &VsockDevice::OnReset,
    &VsockDevice::OnShutdown,
    &VsockDevice::OnData,
    &VsockDevice::OnCredit,
    &VsockDevice::OnCreditRequest,
};

VsockDevice::VsockDevice(const VsockDeviceOptions& options, Callbacks callbacks)
    : options_(options),
      callbacks_(std::move(callbacks)),
      config_(options.guest_cid),
      outgoing_(std::make_unique<Chain>()),
      incoming_(std::make_unique<Chain>()) {
  // Begin at a random port, because a guest may remember connections of an earlier device.
  uint32_t random = 0;
  [[maybe_unused]] const ssize_t got = ::getrandom(&random, sizeof random, GRND_NONBLOCK);
  next_port_ = kFirstFreePort + (random & 0x3fffffff);
}

std::unique_ptr<VsockDevice> VsockDevice::Open(const char* path, const VsockDeviceOptions& options,
                                               Callbacks callbacks, int* error) {
  unique_fd listening;
  *error = ListenOn(path, &listening);
  if (*error < 0) return nullptr;
  std::unique_ptr<VsockDevice> device(new VsockDevice(options, std::move(callbacks)));
  device->path_ = path;
  *error = device->Start(std::move(listening), unique_fd());
  return *error < 0 ? nullptr : std::move(device);
}

std::unique_ptr<VsockDevice> VsockDevice::Adopt(unique_fd socket, const VsockDeviceOptions& options,
                                                Callbacks callbacks, int* error) {
  std::unique_ptr<VsockDevice> device(new VsockDevice(options, std::move(callbacks)));
  *error = device->Start(unique_fd(), std::move(socket));
  return *error < 0 ? nullptr : std::move(device);
}

int VsockDevice::Start(unique_fd listening, unique_fd connected) {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  again_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  clock_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll_.valid() || !again_.valid() || !clock_.valid()) return -errno;
  int result = Add(epoll_, again_.get(), EPOLLIN, kAgain);
  if (result == 0) result = Add(epoll_, clock_.get(), EPOLLIN, kClock);
  if (result == 0 && listening.valid()) {
    listening_ = std::move(listening);
    result = Add(epoll_, listening_.get(), EPOLLIN, kListening);
  }
  if (result == 0 && connected.valid()) {
    vmm_ = std::make_unique<vhost_user::Connection>(std::move(connected));
    backend_ = std::make_unique<VhostBackend>(0, &config_, sizeof config_);
    result = Add(epoll_, vmm_->fd(), EPOLLIN, kVmm);
  }
  return result;
}

VsockDevice::~VsockDevice() {
  if (running_) {
    ResetAll(-ECONNABORTED);
    SendControl();
  }
  UnwatchKicks();
  if (!path_.empty()) ::unlink(path_.c_str());
}

// The VMM

void VsockDevice::AcceptVmm() {
  unique_fd socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) return;
  vmm_ = std::make_unique<vhost_user::Connection>(std::move(socket));
  backend_ = std::make_unique<VhostBackend>(0, &config_, sizeof config_);
  // Another VMM waits until this one is gone.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listening_.get(), nullptr);
  if (Add(epoll_, vmm_->fd(), EPOLLIN, kVmm) < 0) DropVmm(-EHOSTDOWN);
}

void VsockDevice::Serve() {
  // The VMM keeps the file of a kick open, so closing our descriptor does not end the watch.
  UnwatchKicks();
  for (size_t i = 0; i < kMaxMessagesAtOnce; ++i) {
    const int got = vmm_->Read();
    if (got == -EAGAIN) break;
    if (got != 1) {
      DropVmm(-EHOSTDOWN);
      return;
    }
    vhost_user::Message& message = vmm_->message();
    VhostBackend::Answer answer;
    const int result = backend_->Handle(message, &answer);
    const bool wants_reply = (message.header.flags & vhost_user::kNeedReply) != 0;
    int sent = 0;
    if (answer.size > 0) {
      sent = vmm_->Reply(answer.body, answer.size);
    } else if (wants_reply && backend_->acknowledges()) {
      const uint64_t failed = result < 0 ? 1 : 0;
      sent = vmm_->Reply(&failed, sizeof failed);
    } else if (result < 0) {
      sent = result;
    }
    if (sent < 0) {
      DropVmm(-EHOSTDOWN);
      return;
    }
    CheckState();
  }
  WatchKicks();
}

void VsockDevice::CheckState() {
  const bool running = backend_->running();
  if (running == running_) return;
  running_ = running;
  if (running) {
    backend_->receive().DisableKicks();
  } else {
    ResetAll(-ECONNRESET);
  }
}

void VsockDevice::ResetAll(int error) {
  const bool reachable = running_;
  was_lost_ = true;
  wants_room_ = false;
  unsent_.clear();
  refusals_.clear();
  for (auto& [id, listener] : listeners_) listener->offered.clear();
  std::vector<Stream*> all;
  for (const auto& [key, stream] : by_ports_) all.push_back(stream);
  for (Stream* stream : all) {
    if (reachable && stream->connection.state() != State::kConnecting) {
      refusals_.push_back(stream->connection.Packet(vsock::kReset));
    }
    stream->queued = false;
    Destroy(*stream, error);
  }
}

void VsockDevice::DropVmm(int error) {
  UnwatchKicks();
  running_ = false;
  ResetAll(error);
  backend_.reset();
  vmm_.reset();
  if (listening_.valid()) Add(epoll_, listening_.get(), EPOLLIN, kListening);
}

void VsockDevice::WatchKicks() {
  if (backend_ == nullptr) return;
  const int kicks[] = {backend_->receive().kick(), backend_->transmit().kick()};
  const Tag tags[] = {kReceiveKick, kTransmitKick};
  for (size_t i = 0; i < 2; ++i) {
    // The watch is edge-triggered and each write is an edge, so the counter is never read.
    if (kicks[i] >= 0 && Add(epoll_, kicks[i], EPOLLIN | EPOLLET, tags[i]) == 0) {
      watched_kicks_[i] = kicks[i];
    }
  }
}

void VsockDevice::UnwatchKicks() {
  for (int& kick : watched_kicks_) {
    if (kick >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, kick, nullptr);
    kick = -1;
  }
}

// The loop

void VsockDevice::Run() {
  in_run_ = true;
  epoll_event events[8];
  const int count = ::epoll_wait(epoll_.get(), events, 8, 0);
  for (int i = 0; i < count; ++i) {
    switch (events[i].data.u32) {
      case kListening:
        if (vmm_ == nullptr) AcceptVmm();
        break;
      case kVmm:
        if (vmm_ != nullptr) Serve();
        break;
      case kAgain:
        Clear(again_);
        woken_ = false;
        break;
      case kClock:
        Clear(clock_);
        Tick();
        break;
      default:
        break;
    }
  }
  Turn();
  in_run_ = false;
  if (!ready_.empty()) Wake();
}

void VsockDevice::Turn() {
  Process();
  Dispatch();
  SendControl();
  if (owes_) Publish();
  AwaitRoom();
}

void VsockDevice::Process() {
  if (!running_) return;
  Drain();
  if (wants_room_ && backend_->receive().Available()) OnRoom();
  SendControl();
  if (backend_->memory().broken()) DropVmm(-EHOSTDOWN);
}

void VsockDevice::Advance(int own) {
  if (in_run_) return;
  Process();
  if (owes_) Publish();
  AwaitRoom();
  const bool others =
      std::any_of(ready_.begin(), ready_.end(), [own](int id) { return id != own; });
  if (others) Wake();
}

bool VsockDevice::Wait(int64_t timeout_ns) {
  pollfd watch = {epoll_.get(), POLLIN, 0};
  const timespec timeout = {static_cast<time_t>(timeout_ns / static_cast<int64_t>(kNsPerSecond)),
                            static_cast<long>(timeout_ns % static_cast<int64_t>(kNsPerSecond))};
  return ::ppoll(&watch, 1, timeout_ns < 0 ? nullptr : &timeout, nullptr) > 0;
}

void VsockDevice::Wake() {
  if (std::exchange(woken_, true)) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(again_.get(), &one, sizeof one);
}

void VsockDevice::Dispatch() {
  if (std::exchange(was_lost_, false) && std::exchange(announced_, false)) callbacks_.state(false);
  if (running_ && !std::exchange(announced_, true)) callbacks_.state(true);
  const std::vector<int> marked = std::exchange(ready_, {});
  for (const int id : marked) {
    if (const auto listener = listeners_.find(id); listener != listeners_.end()) {
      const Listener& found = *listener->second;
      if (!found.offered.empty() && (found.events & kReadable) != 0)
        callbacks_.ready(id, kReadable);
      const auto again = listeners_.find(id);
      if (again != listeners_.end() && !again->second->offered.empty() &&
          (again->second->events & kReadable) != 0) {
        ready_.push_back(id);
      }
      continue;
    }
    Stream* stream = Find(id);
    if (stream == nullptr) continue;
    stream->marked = false;
    const int events = Ready(*stream) & stream->events;
    if (events != 0) callbacks_.ready(id, events);
    stream = Find(id);
    if (stream != nullptr && (Ready(*stream) & stream->events) != 0) Mark(*stream);
  }
}

void VsockDevice::StartClock() {
  if (std::exchange(clock_running_, true)) return;
  const itimerspec second = {{1, 0}, {1, 0}};
  ::timerfd_settime(clock_.get(), 0, &second, nullptr);
}

void VsockDevice::Tick() {
  const uint64_t now = NowNs();
  bool needed = false;
  std::vector<Stream*> late;
  for (const auto& [key, stream] : by_ports_) {
    if (stream->connection.state() == State::kClosing) {
      needed = true;
      if (now >= stream->deadline_ns) late.push_back(stream);
    } else if (stream->connection.short_of_credit()) {
      // Drivers send updates unasked. With a driver that did not, this side would wait for ever.
      needed = true;
      stream->connection.AskForCredit();
      Enqueue(*stream, vsock::kCreditRequest);
    }
  }
  for (Stream* stream : late) {
    Reset(*stream);
  }
  if (needed) return;
  clock_running_ = false;
  const itimerspec off = {};
  ::timerfd_settime(clock_.get(), 0, &off, nullptr);
}

// From the guest

void VsockDevice::Drain() {
  Virtqueue& queue = backend_->transmit();
  size_t packets = 0;
  do {
    while (packets < kMaxPacketsAtOnce &&
           queue.Take(backend_->memory(), Virtqueue::Direction::kFromDriver, incoming_.get())) {
      ++packets;
      Packet(*incoming_);
      queue.Give(incoming_->head, 0);
    }
    if (packets == kMaxPacketsAtOnce) {
      Wake();
      break;
    }
  } while (queue.EnableKicks());
  const bool much =
      queue.held_descriptors() >= queue.size() / kMuch || queue.held_bytes() >= kMuchBytes;
  if (much) Publish();
}

// Packets to the guest and returned buffers share one interrupt. A sender in the guest that waits
// for both credit and its packets then gets both at once.
void VsockDevice::Publish() {
  if (!running_) return;
  owes_ = false;
  backend_->receive().Publish();
  backend_->transmit().Publish();
}

void VsockDevice::Packet(const Chain& chain) {
  Header header;
  if (chain.Read(0, &header, sizeof header) != sizeof header) return;
  if (header.src_cid != options_.guest_cid || header.dst_cid != vsock::kHostCid) return;
  // An interrupt costs the guest more than the credit in such a packet is worth. Programs wait for
  // the return of their data packets, but not for the return of these.
  owes_ = owes_ || header.op != vsock::kCreditUpdate;
  if (header.type != vsock::kStream || header.len > chain.bytes - sizeof header ||
      header.len > kMaxPacketBytes) {
    Refuse(header);
    return;
  }
  const auto found = by_ports_.find(Key(header.dst_port, header.src_port));
  Stream* stream = found == by_ports_.end() ? nullptr : found->second;
  if (header.op == vsock::kRequest) {
    // A guest that connects again has forgotten a connection that only waits for its reset.
    if (stream != nullptr && stream->connection.state() == State::kClosing) {
      Destroy(*stream, 0);
      stream = nullptr;
    }
    if (stream == nullptr) OnRequest(header);
    return;
  }
  const bool known = header.op < sizeof kHandlers / sizeof *kHandlers && header.op > 0;
  if (stream == nullptr || !known) {
    Refuse(header);
    return;
  }
  if (stream->connection.LearnCredit(header)) tells_of_end_ = true;
  (this->*kHandlers[header.op])(*stream, header, chain);
}

void VsockDevice::OnRequest(const Header& header) {
  auto port = by_port_.find(header.dst_port);
  if (port == by_port_.end()) port = by_port_.find(kAnyPort);
  if (port == by_port_.end()) {
    Refuse(header);
    return;
  }
  Listener& listener = *listeners_[port->second];
  // One connection may wait even with a backlog of 0, as in the kernel.
  Stream* const stream =
      listener.offered.size() > listener.backlog ? nullptr : Make(header.dst_port, header.src_port);
  if (stream == nullptr) {
    Refuse(header);
    return;
  }
  stream->connection.Offer(header);
  stream->listener = port->second;
  listener.offered.push_back(stream->id);
  if (listener.offered.size() == 1) ready_.push_back(port->second);
}

void VsockDevice::OnResponse(Stream& stream, const Header&, const Chain&) {
  if (stream.connection.OnResponse()) Mark(stream);
}

void VsockDevice::OnReset(Stream& stream, const Header&, const Chain&) {
  stream.connection.OnReset();
  Destroy(stream, 0);
}

void VsockDevice::OnShutdown(Stream& stream, const Header& header, const Chain&) {
  if (stream.connection.OnShutdown(header.flags)) {
    Reset(stream);
  } else {
    Mark(stream);
  }
}

void VsockDevice::OnData(Stream& stream, const Header& header, const Chain& chain) {
  const auto copy = [&chain](uint8_t* to, size_t offset, size_t size) {
    chain.Read(sizeof(Header) + offset, to, size);
  };
  switch (stream.connection.OnData(header.len, copy)) {
    case VsockConnection::Arrival::kTaken:
      Mark(stream);
      break;
    case VsockConnection::Arrival::kIgnored:
      break;
    case VsockConnection::Arrival::kRefused:
      Refuse(header);
      Destroy(stream, -ECONNRESET);
      break;
  }
}

void VsockDevice::OnCredit(Stream& stream, const Header&, const Chain&) { Mark(stream); }

void VsockDevice::OnCreditRequest(Stream& stream, const Header&, const Chain&) {
  Enqueue(stream, vsock::kCreditUpdate);
}

// To the guest

void VsockDevice::Refuse(const Header& header) {
  if (header.op == vsock::kReset || refusals_.size() >= kMaxRefusals) return;
  Header answer;
  answer.src_cid = vsock::kHostCid;
  answer.dst_cid = options_.guest_cid;
  answer.src_port = header.dst_port;
  answer.dst_port = header.src_port;
  answer.type = header.type;
  answer.op = vsock::kReset;
  refusals_.push_back(answer);
}

// Tells the guest that a connection does not exist any more.
void VsockDevice::Reset(Stream& stream) {
  if (refusals_.size() < kMaxRefusals) refusals_.push_back(stream.connection.Packet(vsock::kReset));
  Destroy(stream, 0);
}

void VsockDevice::Enqueue(Stream& stream, vsock::Operation operation) {
  stream.unsent |= static_cast<uint16_t>(1 << operation);
  if (!std::exchange(stream.queued, true)) unsent_.push_back(stream.id);
  if (!in_run_) SendControl();
}

void VsockDevice::SendControl() {
  if (!running_ || (refusals_.empty() && unsent_.empty())) return;
  bool room = true;
  while (room && !refusals_.empty()) {
    room = Emit(refusals_.front());
    if (room) refusals_.pop_front();
  }
  while (room && !unsent_.empty()) {
    Stream* const stream = Find(unsent_.front());
    while (room && stream != nullptr && stream->unsent != 0) {
      const auto operation = static_cast<vsock::Operation>(__builtin_ctz(stream->unsent));
      room = Emit(stream->connection.Packet(operation));
      if (room) stream->unsent &= static_cast<uint16_t>(stream->unsent - 1);
    }
    if (!room) break;
    if (stream != nullptr) stream->queued = false;
    unsent_.pop_front();
    if (stream != nullptr && stream->connection.state() == State::kEstablished) Mark(*stream);
  }
  if (!room) WantRoom();
  Publish();
}

bool VsockDevice::Emit(const Header& header) {
  Virtqueue& queue = backend_->receive();
  if (!queue.Take(backend_->memory(), Virtqueue::Direction::kToDriver, outgoing_.get())) {
    return false;
  }
  if (outgoing_->bytes < sizeof header) return queue.Break();
  outgoing_->Write(0, &header, sizeof header);
  queue.Give(outgoing_->head, sizeof header);
  return true;
}

void VsockDevice::WantRoom() {
  if (std::exchange(wants_room_, true)) return;
  AwaitRoom();
}

// With VIRTIO_F_EVENT_IDX the driver kicks for one buffer only. Another stream may have taken that
// buffer since, so the kick is asked for again.
void VsockDevice::AwaitRoom() {
  if (running_ && wants_room_ && backend_->receive().EnableKicks()) Wake();
}

void VsockDevice::OnRoom() {
  wants_room_ = false;
  backend_->receive().DisableKicks();
  SendControl();
  std::vector<int> waiting = std::exchange(waiting_, {});
  // The first stream may use up all the room, so each time a different stream is first.
  if (waiting.size() > 1) std::rotate(waiting.begin(), waiting.begin() + 1, waiting.end());
  for (const int id : waiting) {
    Stream* const stream = Find(id);
    if (stream == nullptr) continue;
    stream->waiting = false;
    Mark(*stream);
  }
}

// Streams

int VsockDevice::Ready(Stream& stream) {
  VsockConnection& connection = stream.connection;
  const int error = connection.SendError();
  if (error == -ENOTCONN) return 0;
  // A stream that can no longer send is writable, so that send returns the error.
  bool writable = error != 0;
  if (!writable && (stream.events & kWritable) != 0) {
    if (!connection.HasCredit(tells_of_end_)) {
      StartClock();
    } else if (!stream.queued && backend_->receive().Available()) {
      connection.Satisfied();
      writable = true;
    } else if (!std::exchange(stream.waiting, true)) {
      waiting_.push_back(stream.id);
      WantRoom();
    }
  }
  return (connection.Readable() ? kReadable : 0) | (writable ? kWritable : 0);
}

void VsockDevice::Mark(Stream& stream) {
  if (stream.events == 0 || !stream.owned || std::exchange(stream.marked, true)) return;
  ready_.push_back(stream.id);
}

VsockDevice::Stream* VsockDevice::Make(uint32_t local_port, uint32_t peer_port) {
  if (streams_.size() >= options_.max_connections) return nullptr;
  auto stream = std::make_unique<Stream>(&blocks_, options_, local_port, peer_port);
  stream->id = next_id_;
  // Each number is used once. After 2^31 connections they start again.
  do {
    next_id_ = next_id_ == INT32_MAX ? 1 : next_id_ + 1;
  } while (streams_.count(next_id_) != 0 || listeners_.count(next_id_) != 0);
  Stream* const made = stream.get();
  by_ports_[Key(local_port, peer_port)] = made;
  streams_[made->id] = std::move(stream);
  return made;
}

VsockDevice::Stream* VsockDevice::Find(int id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

VsockDevice::Stream* VsockDevice::FindOwned(int id) const {
  Stream* const stream = Find(id);
  return stream == nullptr || !stream->owned ? nullptr : stream;
}

void VsockDevice::Destroy(Stream& stream, int error) {
  const auto listener = listeners_.find(stream.listener);
  if (listener != listeners_.end()) {
    std::deque<int>& offered = listener->second->offered;
    offered.erase(std::remove(offered.begin(), offered.end(), stream.id), offered.end());
  }
  VsockConnection& connection = stream.connection;
  if (error != 0) {
    connection.Fail(error);
  } else {
    connection.Die();
  }
  by_ports_.erase(Key(connection.local_port(), connection.peer_port()));
  stream.unsent = 0;
  if (stream.owned && stream.listener == 0) {
    Mark(stream);
  } else {
    streams_.erase(stream.id);
  }
}

int VsockDevice::Connect(uint32_t port, uint32_t local_port) {
  if (!running_) return -ENODEV;
  if (local_port == 0) {
    do {
      local_port = next_port_;
      next_port_ = next_port_ >= INT32_MAX ? kFirstFreePort : next_port_ + 1;
    } while (by_ports_.count(Key(local_port, port)) != 0 || by_port_.count(local_port) != 0);
  } else if (by_ports_.count(Key(local_port, port)) != 0) {
    return -EADDRINUSE;
  }
  Stream* const stream = Make(local_port, port);
  if (stream == nullptr) return -ENOBUFS;
  Enqueue(*stream, vsock::kRequest);
  return stream->id;
}

int VsockDevice::Listen(uint32_t port, uint32_t backlog) {
  if (by_port_.count(port) != 0) return -EADDRINUSE;
  const int id = next_id_;
  do {
    next_id_ = next_id_ == INT32_MAX ? 1 : next_id_ + 1;
  } while (streams_.count(next_id_) != 0 || listeners_.count(next_id_) != 0);
  auto listener = std::make_unique<Listener>();
  listener->port = port;
  listener->backlog = backlog;
  listeners_[id] = std::move(listener);
  by_port_[port] = id;
  return id;
}

int VsockDevice::Accept(int listener) {
  const auto found = listeners_.find(listener);
  if (found == listeners_.end()) return -EBADF;
  std::deque<int>& offered = found->second->offered;
  if (offered.empty()) return -EAGAIN;
  const int id = offered.front();
  offered.pop_front();
  Find(id)->listener = 0;
  return id;
}

int VsockDevice::Confirm(int id) {
  Stream* const stream = FindOwned(id);
  if (stream == nullptr) return -EBADF;
  VsockConnection& connection = stream->connection;
  if (connection.state() != State::kOffered) {
    return connection.error() != 0 ? connection.error() : -ECONNRESET;
  }
  connection.Confirm();
  Enqueue(*stream, vsock::kResponse);
  return 0;
}

ssize_t VsockDevice::Receive(int id, void* buffer, size_t length) {
  Stream* const stream = FindOwned(id);
  if (stream == nullptr) return -EBADF;
  VsockConnection& connection = stream->connection;
  const ssize_t taken = connection.Receive(buffer, length);
  if (taken <= 0) return taken;
  if (connection.OwesCredit()) Enqueue(*stream, vsock::kCreditUpdate);
  if ((stream->events & kReadable) != 0 && connection.has_unread()) {
    Mark(*stream);
    if (!in_run_) Wake();
  }
  return taken;
}

ssize_t VsockDevice::Send(int id, const iovec* parts, size_t count) {
  Stream* const stream = FindOwned(id);
  if (stream == nullptr) return -EBADF;
  VsockConnection& connection = stream->connection;
  if (const int error = connection.SendError(); error != 0) return error;
  size_t left = 0;
  for (size_t i = 0; i < count; ++i) left += parts[i].iov_len;
  if (left == 0) return 0;
  // First the packets that must precede it, such as the answer to the guest's request.
  if (stream->queued) SendControl();
  if (stream->queued) return -EAGAIN;
  Virtqueue& queue = backend_->receive();
  size_t total = 0;
  size_t part = 0;
  size_t offset = 0;  // in the part
  while (left > 0) {
    const size_t sendable = connection.Sendable(left, tells_of_end_);
    if (sendable == 0) {
      StartClock();
      break;
    }
    if (!queue.Take(backend_->memory(), Virtqueue::Direction::kToDriver, outgoing_.get())) {
      WantRoom();
      break;
    }
    if (outgoing_->bytes <= sizeof(Header)) {
      queue.Break();
      break;
    }
    const size_t size = std::min(sendable, outgoing_->bytes - sizeof(Header));
    connection.Sent(static_cast<uint32_t>(size));
    Header header = connection.Packet(vsock::kData);
    header.len = static_cast<uint32_t>(size);
    outgoing_->Write(0, &header, sizeof header);
    for (size_t done = 0; done < size;) {
      const size_t piece = std::min(parts[part].iov_len - offset, size - done);
      outgoing_->Write(sizeof header + done,
                       static_cast<const uint8_t*>(parts[part].iov_base) + offset, piece);
      done += piece;
      offset += piece;
      if (offset == parts[part].iov_len) {
        ++part;
        offset = 0;
      }
    }
    queue.Give(outgoing_->head, static_cast<uint32_t>(sizeof header + size));
    left -= size;
    total += size;
  }
  if (total > 0) Publish();
  if (left == 0) connection.Satisfied();
  return total > 0 ? static_cast<ssize_t>(total) : -EAGAIN;
}

int VsockDevice::Shutdown(int id, int how) {
  Stream* const stream = FindOwned(id);
  if (stream == nullptr) return -EBADF;
  const uint8_t flags = how == SHUT_RD   ? vsock::kNoReceive
                        : how == SHUT_WR ? vsock::kNoSend
                                         : vsock::kNeither;
  if (const int error = stream->connection.Shutdown(flags); error != 0) return error;
  Enqueue(*stream, vsock::kShutdown);
  Mark(*stream);
  return 0;
}

int VsockDevice::Close(int id) {
  if (const auto listener = listeners_.find(id); listener != listeners_.end()) {
    const std::deque<int> offered = std::exchange(listener->second->offered, {});
    by_port_.erase(listener->second->port);
    listeners_.erase(listener);
    for (const int stream : offered) {
      Find(stream)->listener = 0;
      Close(stream);
    }
    return 0;
  }
  Stream* const stream = FindOwned(id);
  if (stream == nullptr) return -EBADF;
  stream->owned = false;
  switch (stream->connection.state()) {
    case State::kDead:
      streams_.erase(id);
      return 0;
    case State::kEstablished:
      stream->connection.Close();
      stream->deadline_ns = NowNs() + kCloseTimeoutNs;
      StartClock();
      Enqueue(*stream, vsock::kShutdown);
      return 0;
    default:
      Reset(*stream);
      if (!in_run_) SendControl();
      return 0;
  }
}

int VsockDevice::Error(int id) const {
  const Stream* const stream = FindOwned(id);
  return stream == nullptr ? -EBADF : stream->connection.error();
}

int VsockDevice::Watch(int id, int events) {
  if (const auto listener = listeners_.find(id); listener != listeners_.end()) {
    listener->second->events = events;
    if (events != 0 && !listener->second->offered.empty()) {
      ready_.push_back(id);
      if (!in_run_) Wake();
    }
    return 0;
  }
  Stream* const stream = FindOwned(id);
  if (stream == nullptr) return -EBADF;
  stream->events = events;
  if (events != 0 && (Ready(*stream) & events) != 0) {
    Mark(*stream);
    if (!in_run_) Wake();
  }
  return 0;
}

int VsockDevice::Ports(int id, uint32_t* local, uint32_t* peer) const {
  const Stream* const stream = FindOwned(id);
  if (stream == nullptr) return -EBADF;
  *local = stream->connection.local_port();
  *peer = stream->connection.peer_port();
  return 0;
}

}  // namespace waep
