// Cells of VOs that are isolated or untrusted: what their jobs see, and what they may not ask of the kernel.
#include "test_cell.h"

#include <fstream>
#include <sys/stat.h>
#include <sys/un.h>

namespace {

std::string wanted(const char* more) { return R"({"vo":"demo","uid":1879113729,"home":"/home/alice",)" + std::string(more) + "}"; }

/// The output of a Python program in a confined cell.
std::string python(const char* confinement, const std::string& program) {
  TestCell cell;
  cell.confine(wanted(confinement));
  cell.spawn("exec python3 -c '" + program + "' 2>&1");
  const std::string text = cell.output();
  cell.receive().exit();
  return text;
}

/// System call `number` with arguments, as "result errno".
std::string call(const char* confinement, const std::string& arguments) {
  return python(confinement, "import ctypes;l=ctypes.CDLL(None,use_errno=True);r=l.syscall(" + arguments + ");print(r,ctypes.get_errno())");
}

constexpr const char* untrusted = R"("untrusted":true,"few_devices":true)";

}  // namespace

TEST("an untrusted job gets no new privileges and its filter besides that of all cells") {
  TestCell cell;
  cell.confine(wanted(untrusted));
  cell.spawn("grep -E '^(NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status | tr -d '\\t\\n'; id -u; id -G");
  CHECK_EQUAL(cell.output(), "NoNewPrivs:1Seccomp:2Seccomp_filters:21879113729\n1879113729 1234\n");
  CHECK_EQUAL(cell.receive().exit().code, 0);
}

TEST("a trusted job keeps setuid and gets the one filter of all cells") {
  TestCell cell;
  cell.confine(wanted(R"("untrusted":false)"));
  cell.spawn("grep -E '^(NoNewPrivs|Seccomp_filters):' /proc/self/status | tr -d '\\t\\n'");
  CHECK_EQUAL(cell.output(), "NoNewPrivs:0Seccomp_filters:1");
  cell.receive().exit();
}

TEST("an untrusted job is refused namespaces, keyrings, bpf, userfaultfd, mounts and typing for others") {
  CHECK_EQUAL(call(untrusted, "272,0x10000000"), "-1 1\n");      // unshare(CLONE_NEWUSER)
  CHECK_EQUAL(call(untrusted, "56,0x10000011,0,0,0,0"), "-1 1\n");  // clone(CLONE_NEWUSER | SIGCHLD)
  CHECK_EQUAL(call(untrusted, "435,0,0"), "-1 38\n");            // clone3
  CHECK_EQUAL(call(untrusted, "425,8,0"), "-1 38\n");            // io_uring_setup
  CHECK_EQUAL(call(untrusted, "250,0,-3,1"), "-1 1\n");          // keyctl
  CHECK_EQUAL(call(untrusted, "321,0,0,0"), "-1 1\n");           // bpf
  CHECK_EQUAL(call(untrusted, "323,1"), "-1 1\n");               // userfaultfd(UFFD_USER_MODE_ONLY)
  CHECK_EQUAL(call(untrusted, "165,0,0,0,0,0"), "-1 1\n");       // mount
  CHECK_EQUAL(call(untrusted, "41,38,5,0"), "-1 97\n");          // socket(AF_ALG)
  CHECK_EQUAL(call(untrusted, "41,40,1,0"), "-1 97\n");          // socket(AF_VSOCK)
  CHECK_EQUAL(call(untrusted, "41,16,3,12"), "-1 93\n");         // socket(AF_NETLINK, NETLINK_NETFILTER)
  CHECK_EQUAL(call(untrusted, "16,0,0x5412,0"), "-1 1\n");       // ioctl(TIOCSTI)
}

TEST("an untrusted job does what programs do: processes, threads, pipes, sockets, memory, timers") {
  CHECK_EQUAL(python(untrusted,
                     "import subprocess,threading,socket,mmap,time,os\n"
                     "t=threading.Thread(target=lambda:time.sleep(0.01));t.start();t.join()\n"
                     "a,b=socket.socketpair();a.send(b\"x\");b.recv(1)\n"
                     "s=socket.socket();s.bind((\"127.0.0.1\",0));s.listen()\n"
                     "m=mmap.mmap(-1,1<<20);m[0]=1\n"
                     "os.sched_setaffinity(0,os.sched_getaffinity(0))\n"
                     "print(subprocess.run([\"/bin/sh\",\"-c\",\"echo in | cat\"],capture_output=True,text=True).stdout,end=\"\")"),
              "in\n");
}

TEST("an untrusted job has a few devices, its terminals among them") {
  TestCell cell;
  cell.confine(wanted(untrusted));
  cell.spawn("ls /dev | tr '\\n' ' '; echo x > /dev/null && head -c 2 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; test -t 0 < /dev/tty && echo terminal; echo y > /dev/stderr", user, true);
  const Answer terminal = cell.receive();
  CHECK_EQUAL(terminal.header.type, static_cast<uint16_t>(frame_cell_pty));
  close(terminal.fds.at(0));
  CHECK_EQUAL(cell.output(), "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero 2\n3\nterminal\ny\n");
  CHECK_EQUAL(cell.receive().exit().code, 0);
}

TEST("an isolated job sees its own home, volume and temporary files and nobody else's") {
  TestCell cell;
  // Beside the cell's own: another user's home, a file in /tmp, shared memory, a volume of another VO.
  for (const char* path : {"/home/alice", "/home/bob", "/grid/demo/home.alice", "/grid/other/home.eve", "/run/xos", "/run/others"}) (void)!system(("mkdir -p " + std::string(path)).c_str());
  (void)!system("chown 1879113729 /home/alice; echo a > /home/alice/note; echo s > /tmp/xos-test-secret; chmod 666 /tmp/xos-test-secret; echo s > /dev/shm/xos-test-secret");
  cell.confine(wanted(R"("isolated":true)"));
  cell.spawn("ls /home /grid /run | tr '\\n' ' '; cat /home/alice/note; ls -A /tmp /var/tmp /dev/shm | tr '\\n' ' '; echo mine > /tmp/f && echo mine > /dev/shm/f && cat /tmp/f /dev/shm/f; ls /sys/fs/cgroup | wc -l");
  CHECK_EQUAL(cell.output(), "/grid: demo  /home: alice  /run: xos a\n/dev/shm:  /tmp:  /var/tmp: mine\nmine\n0\n");
  CHECK_EQUAL(cell.receive().exit().code, 0);
  // Nothing of it shows outside, and what was there is still there.
  struct stat info{};
  CHECK(stat("/home/bob", &info) == 0 && stat("/tmp/xos-test-secret", &info) == 0 && stat("/dev/shm/f", &info) != 0);
  CHECK(stat("/var/lib/xos/tmp/demo/1879113729/tmp/f", &info) == 0);
  (void)!system("rm -rf /home/bob /grid/other /run/others /tmp/xos-test-secret /dev/shm/xos-test-secret /var/lib/xos/tmp/demo");
}

TEST("an isolated job reaches no abstract socket, no port and no System V memory of others") {
  const unique_fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, {}};
  memcpy(address.sun_path, "\0xos-test", 9);
  CHECK(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t) + 9) == 0 && listen(listener.get(), 1) == 0);
  const std::string program = "import socket\ns=socket.socket(socket.AF_UNIX)\ntry:\n s.connect(\"\\0xos-test\");print(\"reached\")\nexcept OSError as e: print(e.errno)";
  CHECK_EQUAL(python(R"("isolated":false)", program), "reached\n");
  CHECK_EQUAL(python(R"("isolated":true)", program), "111\n");
  CHECK_EQUAL(python(R"("own_network":true)", program), "111\n");
  CHECK_EQUAL(python(R"("own_network":true)", "import socket,os;print([i[1] for i in socket.if_nameindex()],os.listdir(\"/sys/class/net\"));s=socket.socket();s.bind((\"127.0.0.1\",0));s.listen();socket.create_connection(s.getsockname());print(\"loopback\")"),
              "['lo'] ['lo']\nloopback\n");
}

TEST("a link in the way of an isolated user's files is not followed, and nothing runs then") {
  (void)!system("mkdir -p /var/lib/xos/tmp/demo/1879113729 /tmp/xos-test-elsewhere; rm -rf /var/lib/xos/tmp/demo/1879113729/tmp; ln -s /tmp/xos-test-elsewhere /var/lib/xos/tmp/demo/1879113729/tmp");
  TestCell cell;
  cell.confine(wanted(R"("isolated":true)"));
  cell.spawn("true");
  const Answer answer = cell.receive();
  CHECK_EQUAL(answer.header.type, static_cast<uint16_t>(frame_refused));
  const std::string text(answer.payload.begin(), answer.payload.end());
  CHECK(text.find("as its VO's policy wants it") != text.npos);
  (void)!system("rm -rf /var/lib/xos/tmp/demo /tmp/xos-test-elsewhere");
}

TEST("a confinement that nobody understands lets nothing run") {
  for (const char* request : {"nonsense", "{}", R"({"vo":"..","uid":5})", R"({"vo":"demo","uid":0})", R"({"vo":"demo","uid":"x"})", R"({"vo":"demo","uid":5,"isolated":true,"home":"/home/../etc"})"}) {
    TestCell cell;
    cell.confine(request);
    cell.spawn("true");
    CHECK_EQUAL(cell.receive().header.type, static_cast<uint16_t>(frame_refused));
  }
}
