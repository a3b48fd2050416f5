// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

namespace waep {

void ExportSockets(Napi::Env env, Napi::Object exports);

}  // namespace waep
