{
  "target_defaults": {
    "cflags": [
      "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fvisibility=hidden", "-O2",
      "-ffunction-sections", "-fdata-sections"
    ],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
    "defines!": ["_FILE_OFFSET_BITS=64", "_LARGEFILE_SOURCE"],
    "ldflags": ["-Wl,--gc-sections"]
  },
  "variables": {
    "core_device": [
      "addon/core/transport/guest_memory.cc",
      "addon/core/transport/vhost_backend.cc",
      "addon/core/transport/vhost_user.cc",
      "addon/core/transport/virtqueue.cc",
      "addon/core/transport/vsock_connection.cc",
      "addon/core/transport/vsock_device.cc"
    ],
    "core_executor": [
      "addon/core/executor/audit_trail.cc",
      "addon/core/executor/call_image.cc",
      "addon/core/executor/call_loop.cc",
      "addon/core/executor/call_memory.cc",
      "addon/core/executor/cancellation.cc",
      "addon/core/executor/executor.cc",
      "addon/core/executor/file_operations.cc",
      "addon/core/executor/interface_names.cc",
      "addon/core/executor/netlink.cc",
      "addon/core/executor/readable_file.cc",
      "addon/core/executor/rule_checker.cc",
      "addon/core/executor/rules.cc",
      "addon/core/sockets.cc"
    ]
  },
  "targets": [
    {
      "target_name": "waep",
      "sources": [
        "<@(core_executor)",
        "<@(core_device)",
        "addon/core/executor/confinement.cc",
        "addon/core/executor/mounts.cc",
        "addon/core/supervisor/caller_memory.cc",
        "addon/core/supervisor/links.cc",
        "addon/core/supervisor/memory_maps.cc",
        "addon/core/supervisor/netlink_socket.cc",
        "addon/core/supervisor/verdict_cache.cc",
        "addon/core/supervisor/restraint.cc",
        "addon/core/supervisor/seccomp_listener.cc",
        "addon/core/supervisor/standby_socket.cc",
        "addon/napi/channel.cc",
        "addon/napi/device_binding.cc",
        "addon/napi/device_loop.cc",
        "addon/napi/executor_binding.cc",
        "addon/napi/loop_stream.cc",
        "addon/napi/listener.cc",
        "addon/napi/module.cc",
        "addon/napi/mounts_binding.cc",
        "addon/napi/old_libc.cc",
        "addon/napi/poller.cc",
        "addon/napi/verdict_cache_binding.cc",
        "addon/napi/seccomp_binding.cc",
        "addon/napi/sockets_binding.cc",
        "addon/napi/standby_binding.cc",
        "addon/napi/uv_poll.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "ldflags": [
        "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-Wl,--wrap=__tls_get_addr"
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "waep-executor",
          "type": "executable",
          "sources": [
            "<@(core_executor)",
            "addon/core/executor/address_arena.cc",
            "addon/core/executor/confinement.cc",
            "addon/core/executor/connection_slot.cc",
            "addon/core/executor/control.cc",
            "addon/core/executor/event_connection.cc",
            "addon/core/executor/event_loop.cc",
            "addon/core/executor/event_source.cc",
            "addon/core/executor/event_stream.cc",
            "addon/core/executor/executor_main.cc",
            "addon/core/executor/sandbox.cc"
          ],
          "cflags": ["-fPIE"],
          "ldflags": ["-static-pie"]
        },
        {
          "target_name": "waep-keeper",
          "type": "executable",
          "sources": [
            "addon/core/executor/confined_root.cc",
            "addon/core/executor/confinement.cc",
            "addon/core/executor/control.cc",
            "addon/core/executor/keeper_main.cc",
            "addon/core/executor/session_groups.cc",
            "addon/core/sockets.cc",
            "addon/core/executor/text_file.cc"
          ],
          "cflags": ["-fPIE"],
          "ldflags": ["-static-pie"]
        },
        {
          "target_name": "waep-launch",
          "type": "executable",
          "sources": [
            "addon/core/supervisor/launch.cc",
            "addon/core/supervisor/launcher_main.cc",
            "addon/core/supervisor/seccomp_filter.cc",
            "addon/core/sockets.cc",
            "addon/core/supervisor/standby_socket.cc"
          ],
          "cflags": ["-fPIE"],
          "ldflags": ["-static-pie"]
        }
      ]
    }]
  ]
}
