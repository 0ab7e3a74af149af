// Any bytes at all through the decoders: an error or a value, and a value that the model can say
// is the same after another turn through the encoder.
#include <cstdlib>

#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/settings_codec.h"

using kube_lvs::Family;
using namespace kube_lvs::ipvs;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView message(data, size);
  if (const auto service = DecodeService(message); service.ok() && !service->foreign) {
    const auto bytes = EncodeService(Command::kNewService, service->key, service->config);
    if (bytes.ok()) {
      const auto again = DecodeService(*bytes);
      if (!again.ok() || again->key != service->key || again->config != service->config) {
        std::abort();
      }
    }
  }
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const auto real = DecodeReal(message, family);
    if (!real.ok() || real->foreign) continue;
    const kube_lvs::ServiceKey key{.dataplane = kube_lvs::Dataplane::kIpvs,
                                   .match = kube_lvs::FwMark{1, real->real.at.ip.family},
                                   .protocol = kube_lvs::Protocol::kTcp};
    const auto bytes = EncodeReal(Command::kNewReal, key, real->real);
    if (!bytes.ok()) continue;
    const auto again = DecodeReal(*bytes, family);
    if (!again.ok() || again->real != real->real) std::abort();
  }
  DecodeInfo(message).status().IgnoreError();  // only whether it crashes
  return 0;
}
