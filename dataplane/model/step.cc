#include "dataplane/model/step.h"

#include <type_traits>

namespace kube_lvs {
namespace {

struct Printer {
  std::string operator()(const AddItem& s) const { return "add " + ToString(s.item); }
  std::string operator()(const RemoveItem& s) const { return "remove " + ToString(s.item); }
  std::string operator()(const AddService& s) const {
    return "add " + ToString(s.key) + " " + ToString(s.config);
  }
  std::string operator()(const SetService& s) const {
    return "set " + ToString(s.key) + " " + ToString(s.config);
  }
  std::string operator()(const RemoveService& s) const { return "remove " + ToString(s.key); }
  std::string operator()(const AddReal& s) const {
    return "add " + ToString(s.key) + " -> " + ToString(s.real);
  }
  std::string operator()(const SetReal& s) const {
    return "set " + ToString(s.key) + " -> " + ToString(s.real);
  }
  std::string operator()(const RemoveReal& s) const {
    return "remove " + ToString(s.key) + " -> " + s.at.ToString();
  }
};

}  // namespace

const ServiceKey* KeyOf(const Step& step) {
  return std::visit(
      [](const auto& s) -> const ServiceKey* {
        using T = std::decay_t<decltype(s)>;
        if constexpr (std::is_same_v<T, AddItem> || std::is_same_v<T, RemoveItem>) {
          return nullptr;
        } else {
          return &s.key;
        }
      },
      step);
}

std::string ToString(const Step& step) { return std::visit(Printer{}, step); }

std::string ToString(const Plan& plan) {
  std::string out;
  for (const Step& step : plan.steps) out += ToString(step) + "\n";
  return out;
}

}  // namespace kube_lvs
