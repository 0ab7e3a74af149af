#include "operator/unreadable.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kube/api/decode.h"
#include "kube/api/validate.h"
#include "operator/conditions.h"

namespace kube_lvs::controller {

absl::StatusOr<api::LvsService> DecodeStatusOnly(nlohmann::json object) {
  object["spec"] = nlohmann::json::object();
  return api::DecodeLvsService(object);
}

api::LvsServiceStatus UnreadableStatus(const api::LvsService& service, const std::string& why,
                                       const std::string& now) {
  api::LvsServiceStatus status = service.status;
  const Verdict verdict{Truth::kFalse, api::kInvalidSpec, why};
  for (const char* type : {"Accepted", "Ready"}) {
    api::Condition condition =
        MakeCondition(type, verdict, service.meta.generation, service.status.conditions, now);
    const auto it = std::ranges::find(status.conditions, type, &api::Condition::type);
    if (it == status.conditions.end()) {
      status.conditions.push_back(std::move(condition));
    } else {
      *it = std::move(condition);
    }
  }
  return status;
}

}  // namespace kube_lvs::controller
