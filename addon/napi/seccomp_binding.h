// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

namespace waep {

// The `seccomp…` functions of src/native.ts.
void ExportSeccomp(Napi::Env env, Napi::Object exports);

}  // namespace waep
