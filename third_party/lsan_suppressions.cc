// Linked into every test, for LeakSanitizer. Requests that were given up may not have ended when the process does: their
// tasks in cpprestsdk's thread pool then hold one another.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {  // NOLINT: LeakSanitizer's name
  return "leak:pplx::\nleak:libcpprest.so\n";
}
