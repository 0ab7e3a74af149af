// Requests as netlink messages, and the kernel's refusals in ipvsadm's words. Pure.
#pragma once

#include <string>

#include "cli/request.h"
#include "dataplane/ipvs/message.h"
#include "dataplane/model/service.h"

namespace kube_lvs::cli {

// The message of a change (see IsChange). Unlike the agent's codec it checks nothing: whatever
// ipvsadm would send is sent, and the kernel judges.
ipvs::Bytes Encode(const Request& request);

// The question for one service: kGetService or kGetReal.
ipvs::Bytes EncodeQuestion(ipvs::Command command, const ServiceArgument& service);

// The service that a request names, as the journal has it. Of a mark, the protocol is TCP.
ServiceKey KeyOf(const ServiceArgument& service);

// No service at all: what -Z takes for all of them.
bool NamesNothing(const ServiceArgument& service);

// `error`: an errno. "Service already exists".
std::string Refused(Action action, int error);

}  // namespace kube_lvs::cli
