// SPDX-License-Identifier: Apache-2.0
#ifndef RAY_TRANSFER_ANSWER_INTERNAL_H
#define RAY_TRANSFER_ANSWER_INTERNAL_H

#include "transfer/transfer_internal.h"

// What it keeps is taken from the share, waited for until the stop descriptor is readable; or RAY_AGAIN is the answer, if stop is -1.
void ray__answer_init(ray_answer *answer, ray__share *share, int stop);
void ray__answer_end(ray_answer *answer);

#endif
