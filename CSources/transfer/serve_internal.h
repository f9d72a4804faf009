// SPDX-License-Identifier: Apache-2.0
#ifndef RAY_TRANSFER_SERVE_INTERNAL_H
#define RAY_TRANSFER_SERVE_INTERNAL_H

#include "transfer/transfer_internal.h"

// Serves a connection that has proved itself, until it ends or the transfer stops. Always answers why it ended.
ray_status ray__serve(ray_transfer *transfer, ray__connection *connection);

#endif
