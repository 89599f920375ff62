//go:build linux

package crashtest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	envKill = "TANDEM_CRASHTEST_KILL" // the folder that the child works in
	envDisk = "TANDEM_CRASHTEST_DISK"
	ackFD   = 3
)

// Killed runs child in a process of its own and kills that with SIGKILL, at a random
// moment within window after its first acknowledgement. It returns the lines that child
// had acknowledged: they are out before ack returns. The test that calls it must reach
// the call by the same way in the child.
func Killed(t *testing.T, dir string, window time.Duration, child func(dir string, ack func(line string))) []string {
	t.Helper()
	if dir := os.Getenv(envKill); dir != "" {
		acks := os.NewFile(ackFD, "acks")
		child(dir, func(line string) { fmt.Fprintln(acks, line) })
		os.Exit(0)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd, output := again(t, envKill+"="+dir)
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var acks []string
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if acks = append(acks, lines.Text()); len(acks) == 1 {
			time.AfterFunc(rand.N(window), func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended by itself: %v\n%s", err, output)
	}
	return acks
}

// SmallDisk runs body in a process of its own with a file system of sizeBytes mounted at
// dir. It skips the test where that cannot be made.
func SmallDisk(t *testing.T, sizeBytes int, body func(dir string)) {
	t.Helper()
	if dir := os.Getenv(envDisk); dir != "" {
		if err := syscall.Mount("tandem", dir, "tmpfs", 0, fmt.Sprintf("size=%d", sizeBytes)); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: cannot mount a small disk: %v", err)
		}
		body(dir)
		return
	}
	cmd, output := again(t, envDisk+"="+t.TempDir())
	// A mount that only the child sees, and that goes when it ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: cannot make a mount namespace: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if strings.Contains(output.String(), "SKIPPED") {
		t.Skip(output.String())
	}
}

// Fill leaves no room on the disk of dir. It returns a function that frees it again.
func Fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	f, err := os.CreateTemp(dir, "fill-")
	if err != nil {
		return func() {} // full already
	}
	for _, chunk := range []int{64 << 10, 1} {
		for {
			if _, err := f.Write(make([]byte, chunk)); err != nil {
				break
			}
		}
	}
	_ = f.Close()
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

func again(t *testing.T, env string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	var output strings.Builder
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	// What a killed child cannot remove, the parent does.
	cmd.Env = append(os.Environ(), env, "TMPDIR="+t.TempDir())
	cmd.Stdout, cmd.Stderr = &output, &output
	return cmd, &output
}
