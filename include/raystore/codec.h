// SPDX-License-Identifier: Apache-2.0
// Codec: chunk frames, and the tuner that chooses how to pack them.
#ifndef RAYSTORE_CODEC_H
#define RAYSTORE_CODEC_H
#include "id.h"
#endif
