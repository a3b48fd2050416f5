// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

namespace waep {

// The `standby…` functions of src/native.ts.
void ExportStandby(Napi::Env env, Napi::Object exports);

}  // namespace waep
