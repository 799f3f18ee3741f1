// SPDX-License-Identifier: Apache-2.0
#include "interop/qemu.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>

namespace flatcow {
namespace {

struct Child {
  pid_t pid;
  int to;
  int from;
};

Child Start(const std::vector<std::string>& command) {
  int in[2];
  int out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
    throw std::runtime_error("pipe");
  }
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("fork");
  if (pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(out[1], STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  return {pid, in[1], out[0]};
}

// Everything up to the end, then closes it.
std::string Drain(int descriptor) {
  std::string output;
  char buffer[4096];
  while (true) {
    const ssize_t length = read(descriptor, buffer, sizeof(buffer));
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) break;
    output.append(buffer, static_cast<size_t>(length));
  }
  close(descriptor);
  return output;
}

int Wait(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

CommandResult RunCommand(const std::vector<std::string>& command) {
  const Child child = Start(command);
  close(child.to);
  CommandResult result;
  result.output = Drain(child.from);
  result.exit_code = Wait(child.pid);
  return result;
}

std::string MustRun(const std::vector<std::string>& command) {
  CommandResult result = RunCommand(command);
  if (result.exit_code == 0) return result.output;
  std::string text;
  for (const std::string& argument : command) text += argument + " ";
  throw std::runtime_error(text + "failed: " + result.output);
}

bool HaveQemu() {
  return RunCommand({"qemu-img", "--version"}).exit_code == 0 &&
         RunCommand({"qemu-io", "--version"}).exit_code == 0;
}

RunningQemuIo::RunningQemuIo(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"qemu-io"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Child child = Start(command);
  pid_ = child.pid;
  to_ = child.to;
  from_ = child.from;
  // It may end before it reads.
  std::signal(SIGPIPE, SIG_IGN);
  // It reads commands after it has opened the image; the answer shows that.
  const std::string question = "length\n";
  const ssize_t asked = write(to_, question.data(), question.size());
  std::string answer;
  char c = 0;
  while (asked > 0 && read(from_, &c, 1) == 1) {
    answer += c;
    if (answer.find("iB") != std::string::npos ||
        answer.find("bytes") != std::string::npos) {
      opened_ = true;
      break;
    }
  }
}

RunningQemuIo::~RunningQemuIo() {
  close(to_);
  Drain(from_);
  Wait(pid_);
}

}  // namespace flatcow
