#include "cli/watch.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <string>

#include "cli/signals.h"

namespace kube_lvs::cli {
namespace {

// The alternate screen, so that what was there comes back; the cursor hidden.
constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l\x1b[2J";
constexpr const char* kLeave = "\x1b[?25h\x1b[?1049l";

bool Write(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    done += static_cast<size_t>(wrote);
  }
  return true;
}

FrameSize SizeOfTerminal() {
  FrameSize out{.width = 80, .height = 24, .unicode = false};
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    out.width = size.ws_col;
    out.height = size.ws_row;
  }
  return out;
}

std::string FirstLine(double seconds) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[80];
  std::snprintf(text, sizeof text, "lvsadm, every %g s   %02d:%02d:%02d", seconds, local.tm_hour,
                local.tm_min, local.tm_sec);
  return text;
}

}  // namespace

int WatchOnStdout(const std::function<std::vector<FrameSection>()>& read, double seconds,
                  const Names& names) {
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  const bool unicode = std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  Signals signals;
  if (terminal && !Write(kEnter)) return 1;
  int status = 0;
  std::vector<FrameSection> sections = read();
  auto next = std::chrono::steady_clock::now();
  for (;;) {
    FrameSize size{.width = 120, .height = 0, .unicode = unicode};
    if (terminal) {
      size = SizeOfTerminal();
      size.unicode = unicode;
    }
    std::string text = terminal ? "\x1b[H" : "";
    const std::vector<std::string> lines = Frame(FirstLine(seconds), sections, size, names);
    for (size_t i = 0; i < lines.size(); ++i) {
      text += lines[i];
      // Clears what an earlier picture left; no line end in the last row, which would scroll.
      if (terminal) text += "\x1b[K";
      if (!terminal || i + 1 < lines.size()) text += "\n";
    }
    text += terminal ? "\x1b[J" : "\n";
    if (!Write(text)) {
      status = 1;
      break;
    }
    next += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        std::chrono::duration<double>(seconds));
    const auto woken = signals.Wait(next);
    if (woken == Signals::Woken::kEnd) break;
    if (woken == Signals::Woken::kResized) {
      // The same numbers, drawn anew.
      next -= std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::duration<double>(seconds));
      if (!Write("\x1b[2J")) break;
      continue;
    }
    // After a reading that took longer than the interval, from now on.
    next = std::max(next, std::chrono::steady_clock::now() -
                              std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                  std::chrono::duration<double>(seconds)));
    sections = read();
  }
  if (terminal) Write(kLeave);
  return status;
}

}  // namespace kube_lvs::cli
