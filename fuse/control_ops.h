// SPDX-License-Identifier: Apache-2.0
//
// The requests of libfuse for nodes of control_files.h.
#ifndef FLATCOW_FUSE_CONTROL_OPS_H_
#define FLATCOW_FUSE_CONTROL_OPS_H_

#include "control_files.h"
#include "fuse_api.h"

namespace flatcow::daemon::control {

void ReplyEntry(fuse_req_t request, NodeId node);

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
void GetAttr(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi);
void GetXattr(fuse_req_t request, fuse_ino_t node, const char* name,
              size_t size);
void ListXattr(fuse_req_t request, fuse_ino_t node, size_t size);
void Open(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi);
void Read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
          fuse_file_info* fi);
void Release(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi);
void Fsync(fuse_req_t request, fuse_ino_t node, int only_data,
           fuse_file_info* fi);
void Seek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence,
          fuse_file_info* fi);
void OpenDir(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi);
void ReadDir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
             fuse_file_info* fi);
void ReleaseDir(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi);

}  // namespace flatcow::daemon::control

#endif  // FLATCOW_FUSE_CONTROL_OPS_H_
