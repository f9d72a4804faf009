// SPDX-License-Identifier: Apache-2.0
// RayStore: a distributed object and file store. This header includes the whole public C interface.
#ifndef RAYSTORE_H
#define RAYSTORE_H

#include "raystore/auth.h"
#include "raystore/client.h"
#include "raystore/codec.h"
#include "raystore/file.h"
#include "raystore/host.h"
#include "raystore/id.h"
#include "raystore/macros.h"
#include "raystore/spill.h"
#include "raystore/status.h"
#include "raystore/store.h"
#include "raystore/transfer.h"
#include "raystore/version.h"

#endif
