{
  "target_defaults": {
    "cflags": ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fvisibility=hidden", "-O2"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"]
  },
  "targets": [
    {
      "target_name": "waep",
      "sources": [
        "addon/core/sockets.cc",
        "addon/napi/module.cc",
        "addon/napi/poller.cc",
        "addon/napi/sockets_binding.cc",
        "addon/napi/uv_poll.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "ldflags": ["-static-libstdc++", "-static-libgcc"]
    }
  ]
}
