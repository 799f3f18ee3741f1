// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_SUPPORT_PACKED_CLUSTER_H_
#define FLATCOW_TEST_SUPPORT_PACKED_CLUSTER_H_

#include <string>

namespace flatcow {

// What a qcow2 image holds of a compressed cluster: deflate without a header,
// or a zstd frame.
std::string PackedCluster(const std::string& content, bool zstd);

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_PACKED_CLUSTER_H_
