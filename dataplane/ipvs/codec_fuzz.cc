// Any bytes at all through the decoders: an error or a value, and a value that the model can say
// is the same after another turn through the encoder.
#include <cstdlib>

#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/settings_codec.h"

using kube_lvs::Family;
using namespace kube_lvs::ipvs;  // NOLINT

namespace {

void Must(bool holds) {
  if (!holds) std::abort();
}

void TryService(ByteView message) {
  const auto service = DecodeService(message);
  if (!service.ok() || service->foreign) return;
  const auto bytes = EncodeService(Command::kNewService, service->key, service->config);
  if (!bytes.ok()) return;
  const auto again = DecodeService(*bytes);
  Must(again.ok() && again->key == service->key && again->config == service->config);
}

void TryReal(ByteView message, Family family) {
  const auto real = DecodeReal(message, family);
  if (!real.ok() || real->foreign) return;
  const kube_lvs::ServiceKey key{.dataplane = kube_lvs::Dataplane::kIpvs,
                                 .match = kube_lvs::FwMark{1, real->real.at.ip.family},
                                 .protocol = kube_lvs::Protocol::kTcp};
  const auto bytes = EncodeReal(Command::kNewReal, key, real->real);
  if (!bytes.ok()) return;
  const auto again = DecodeReal(*bytes, family);
  Must(again.ok() && again->real == real->real);
}

void TrySettings(ByteView message) {
  if (const auto timeouts = DecodeTimeouts(message); timeouts.ok()) {
    const auto bytes = EncodeTimeouts(*timeouts);
    Must(!bytes.ok() || *DecodeTimeouts(*bytes) == *timeouts);
  }
  if (const auto daemon = DecodeDaemon(message); daemon.ok()) {
    const auto bytes = EncodeDaemon(*daemon);
    if (!bytes.ok()) return;
    const auto again = DecodeDaemon(*bytes);
    Must(again.ok() && *again == *daemon && Satisfies(*again, *daemon));
  }
  DecodeInfo(message).status().IgnoreError();  // only whether it crashes
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView message(data, size);
  TryService(message);
  TryReal(message, Family::kIpv4);
  TryReal(message, Family::kIpv6);
  TrySettings(message);
  return 0;
}
