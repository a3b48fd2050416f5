{
  "target_defaults": {
    "cflags": ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fvisibility=hidden", "-O2"],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"]
  },
  "variables": {
    "core_device": [
      "addon/core/guest_memory.cc",
      "addon/core/vhost_backend.cc",
      "addon/core/vhost_user.cc",
      "addon/core/virtqueue.cc",
      "addon/core/vsock_connection.cc",
      "addon/core/vsock_device.cc"
    ],
    "core_executor": [
      "addon/core/audit_trail.cc",
      "addon/core/call_image.cc",
      "addon/core/call_loop.cc",
      "addon/core/call_memory.cc",
      "addon/core/cancellation.cc",
      "addon/core/executor.cc",
      "addon/core/readable_file.cc",
      "addon/core/rule_checker.cc",
      "addon/core/rules.cc",
      "addon/core/sockets.cc"
    ]
  },
  "targets": [
    {
      "target_name": "waep",
      "sources": [
        "<@(core_executor)",
        "<@(core_device)",
        "addon/core/confinement.cc",
        "addon/core/mounts.cc",
        "addon/core/caller_memory.cc",
        "addon/core/recall.cc",
        "addon/core/restraint.cc",
        "addon/core/seccomp_listener.cc",
        "addon/core/standby_socket.cc",
        "addon/napi/channel.cc",
        "addon/napi/device_binding.cc",
        "addon/napi/device_loop.cc",
        "addon/napi/executor_binding.cc",
        "addon/napi/loop_stream.cc",
        "addon/napi/listener.cc",
        "addon/napi/module.cc",
        "addon/napi/mounts_binding.cc",
        "addon/napi/poller.cc",
        "addon/napi/recall.cc",
        "addon/napi/seccomp_binding.cc",
        "addon/napi/sockets_binding.cc",
        "addon/napi/standby_binding.cc",
        "addon/napi/uv_poll.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "ldflags": ["-static-libstdc++", "-static-libgcc"]
    },
    {
      "target_name": "waep-executor",
      "type": "executable",
      "sources": [
        "<@(core_executor)",
        "addon/core/address_arena.cc",
        "addon/core/confinement.cc",
        "addon/core/connection_slot.cc",
        "addon/core/control.cc",
        "addon/core/event_connection.cc",
        "addon/core/event_loop.cc",
        "addon/core/event_source.cc",
        "addon/core/event_stream.cc",
        "addon/core/executor_main.cc",
        "addon/core/sandbox.cc"
      ],
      "cflags": ["-fPIE"],
      "ldflags": ["-static-pie"]
    },
    {
      "target_name": "waep-keeper",
      "type": "executable",
      "sources": [
        "addon/core/confined_root.cc",
        "addon/core/confinement.cc",
        "addon/core/control.cc",
        "addon/core/keeper_main.cc",
        "addon/core/session_groups.cc",
        "addon/core/sockets.cc",
        "addon/core/text_file.cc"
      ],
      "cflags": ["-fPIE"],
      "ldflags": ["-static-pie"]
    },
    {
      "target_name": "waep-launch",
      "type": "executable",
      "sources": [
        "addon/core/launch.cc",
        "addon/core/launcher_main.cc",
        "addon/core/seccomp_filter.cc",
        "addon/core/sockets.cc",
        "addon/core/standby_socket.cc"
      ],
      "cflags": ["-fPIE"],
      "ldflags": ["-static-pie"]
    }
  ]
}
