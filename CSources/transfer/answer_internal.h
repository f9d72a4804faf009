// SPDX-License-Identifier: Apache-2.0
#ifndef RAY_TRANSFER_ANSWER_INTERNAL_H
#define RAY_TRANSFER_ANSWER_INTERNAL_H

#include "transfer/transfer_internal.h"

void ray__answer_init(ray_answer *answer);
void ray__answer_end(ray_answer *answer);

#endif
