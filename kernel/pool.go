package kernel

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// spinLimit is how long an idle worker burns its core before it parks.
// Successive kernels of one graph follow each other well within it.
const spinLimit = 20 * time.Microsecond

// holdLimit is the same while the pool is held: longer than what a graph does between
// two operations that are divided, and far less than waking a thread costs each time.
const holdLimit = 200 * time.Microsecond

// chunksPerThread bounds the load imbalance at the end of a For to about
// 1/chunksPerThread of one thread's share.
const chunksPerThread = 16

// ranger is what a Pool runs: operations implement it on their own pointer,
// so that starting one allocates neither a closure nor a box.
type ranger interface {
	chunk(lo, hi, worker int)
}

type bodyFunc func(lo, hi, worker int)

func (f bodyFunc) chunk(lo, hi, worker int) { f(lo, hi, worker) }

// inlineGrains is how many grains of a loop that one thread runs come between two looks
// at whether it is to stop: about a millisecond.
const inlineGrains = 64

// Stopped is what a loop over a pool panics with on its caller when it has left off:
// what it was to compute is not there, so the operation around it must end too.
// Whoever calls Until recovers it.
type Stopped struct{}

// Pool is a fixed set of workers, and when its loops are to stop.
type Pool struct {
	*workers
	stop <-chan struct{}
}

// Branch is a pool of the same workers whose loops stop by themselves.
func (p *Pool) Branch() *Pool { return &Pool{workers: p.workers} }

// Until has the loops that run from now on end soon after stop is closed: they panic with
// Stopped. Nil: they run to their end. It is not to be called during a loop.
func (p *Pool) Until(stop <-chan struct{}) { p.stop = stop }

// ended reports whether a channel given to Until is closed.
func ended(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// workers are the threads of pools; the goroutine that calls For takes part as
// worker 0, so a Pool of one thread has no goroutines of its own.
//
// The gate is the whole protocol. Its low bits count the workers inside the
// current job, one bit says whether the job is still open, and the rest is the
// job's number. A worker that arrives late finds the gate closed and goes back
// to sleep: the caller never waits for a worker that has nothing to do. The
// job's fields change only while the gate is closed and empty.
type workers struct {
	threads int
	isa     ISA
	vnni    bool // dot products of bytes, on AVX-512 only
	dots    bool // dot products of bfloat16, on AVX-512 only
	amx     bool // products of tiles, where there are dot products
	four    bool // pipes of vectors, two of which multiply

	mu     sync.Mutex // held by the For (or Close) under way
	closed bool       // guarded by mu

	gate     atomic.Uint64
	held     atomic.Int32  // calls of Hold without Release
	waiting  atomic.Bool   // the caller is parked on done
	done     chan struct{} // capacity 1
	sleepers []sleeper     // one per worker goroutine
	shares   []share       // of the job, one per worker
	quit     atomic.Bool
	exited   sync.WaitGroup

	job job
}

const (
	gateInside = 1<<15 - 1
	gateOpen   = 1 << 15
	gateJob    = 1 << 16
)

type job struct {
	r       ranger
	n, step int
	stop    <-chan struct{}
	failed  atomic.Pointer[failure]
}

// share is a run of chunks that are left to a worker. It takes them from the front: what
// it read for one chunk, and what that fetched ahead, lies beside the next. A worker that
// has none left takes from the back of another's.
type share struct {
	chunks atomic.Uint64 // from the low half to the high half
	_      [56]byte      // a cache line each
}

func (s *share) set(from, to int) { s.chunks.Store(uint64(to)<<32 | uint64(from)) }

// take is a chunk of the share, the first or the last; -1 when none is left.
func (s *share) take(first bool) int {
	for {
		c := s.chunks.Load()
		from, to := c&(1<<32-1), c>>32
		if from >= to {
			return -1
		}
		chunk, rest := from, c+1
		if !first {
			chunk, rest = to-1, c-1<<32
		}
		if s.chunks.CompareAndSwap(c, rest) {
			return int(chunk)
		}
	}
}

// failure is a panic on its way from a worker to the caller.
type failure struct{ value any }

type sleeper struct {
	parked atomic.Bool
	wake   chan struct{} // capacity 1
	_      [40]byte      // a cache line each
}

// NewPool starts a pool of threads workers (the caller included) whose kernels
// use the tier isa. It panics when the processor does not have that tier: the
// choice is configuration, checked by Detect.
func NewPool(threads int, isa ISA) *Pool {
	if threads < 1 || threads > 1<<10 {
		panic(fmt.Sprintf("kernel: NewPool of %d threads", threads))
	}
	if isa > Detect() {
		panic(fmt.Sprintf("kernel: NewPool with %v on a processor that has %v", isa, Detect()))
	}
	p := &workers{threads: threads, isa: isa, vnni: isa == AVX512 && detectVNNI(), dots: isa == AVX512 && detectBF16(), amx: isa == AVX512 && hasAMX, four: hasFourPipes, done: make(chan struct{}, 1)}
	p.sleepers, p.shares = make([]sleeper, threads-1), make([]share, threads)
	p.exited.Add(threads - 1)
	for i := range p.sleepers {
		p.sleepers[i].wake = make(chan struct{}, 1)
		go p.serve(i)
	}
	return &Pool{workers: p}
}

// Threads is the number of workers, the caller included.
func (p *workers) Threads() int { return p.threads }

// ISA is the tier whose kernels run on this pool.
func (p *workers) ISA() ISA { return p.isa }

// Tier names what decides how weights are packed for this pool.
func (p *Pool) Tier() string {
	name := p.isa.String()
	if p.vnni {
		name += " with VNNI"
	}
	if p.dots {
		name += " with BF16"
	}
	if p.amx {
		name += " with AMX"
	}
	return name
}

// Close ends the workers and waits for them. A For after Close runs inline.
// Close may be called again.
func (p *workers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.quit.Store(true)
	p.gate.Add(gateJob)
	p.wakeAll()
	p.exited.Wait()
}

// Hold tells that work will come in quick succession until Release, so that workers
// wait for it awake. Holds nest.
func (p *workers) Hold() { p.held.Add(1) }

// Release ends a Hold.
func (p *workers) Release() { p.held.Add(-1) }

// For runs body over [0,n) in chunks that are multiples of grain (the last may
// be shorter) and returns when all are done. Every worker has a run of chunks of its own,
// and helps others when it is done; worker, in [0,Threads()), lets body index scratch.
//
// It runs inline as worker 0 when there is one chunk, and when another For is
// under way on this pool, so concurrent and nested calls make progress without
// waiting for each other. A panic in body is raised again on the caller.
func (p *Pool) For(n, grain int, body func(lo, hi, worker int)) {
	p.run(n, grain, bodyFunc(body))
}

func (p *Pool) run(n, grain int, r ranger) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	p.divide(n, grain, r)
	p.Look()
}

// Look panics with Stopped when the loops of the pool are to stop: for long work that is
// not divided, which calls it now and then.
func (p *Pool) Look() {
	if ended(p.stop) {
		panic(Stopped{})
	}
}

// divide hands the chunks of a loop out.
func (p *Pool) divide(n, grain int, r ranger) {
	if p.threads == 1 || n <= grain || !p.mu.TryLock() {
		p.inline(n, grain, r)
		return
	}
	defer p.mu.Unlock()
	if p.closed {
		p.inline(n, grain, r)
		return
	}
	grains := (n + grain - 1) / grain
	j := &p.job
	j.r, j.n, j.stop = r, n, p.stop
	j.step = grain * min(max(1, grains/(p.threads*chunksPerThread)), inlineGrains)
	chunks := (n + j.step - 1) / j.step
	for i := range p.shares {
		p.shares[i].set(i*chunks/p.threads, (i+1)*chunks/p.threads)
	}
	p.gate.Add(gateJob | gateOpen)
	p.wakeAll()
	p.work(0)
	p.gate.Add(^uint64(gateOpen - 1)) // close: subtract gateOpen
	p.awaitEmpty()
	j.r, j.stop = nil, nil
	if f := j.failed.Swap(nil); f != nil {
		panic(f.value)
	}
}

// inline runs a loop on the caller alone.
func (p *Pool) inline(n, grain int, r ranger) {
	step := n
	if p.stop != nil {
		step = grain * inlineGrains
	}
	for lo := 0; lo < n && !ended(p.stop); lo += step {
		r.chunk(lo, min(lo+step, n), 0)
	}
}

func (p *workers) wakeAll() {
	for i := range p.sleepers {
		s := &p.sleepers[i]
		if s.parked.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
}

// work takes chunks of the open job until none is left.
func (p *workers) work(worker int) {
	j := &p.job
	defer func() {
		if v := recover(); v != nil {
			j.failed.CompareAndSwap(nil, &failure{v})
		}
	}()
	for {
		c := p.next(worker)
		if c < 0 || ended(j.stop) || j.failed.Load() != nil {
			return
		}
		j.r.chunk(c*j.step, min((c+1)*j.step, j.n), worker)
	}
}

// next is the chunk that a worker computes next; -1 when none is left.
func (p *workers) next(worker int) int {
	if c := p.shares[worker].take(true); c >= 0 {
		return c
	}
	for i := 1; i < p.threads; i++ {
		if c := p.shares[(worker+i)%p.threads].take(false); c >= 0 {
			return c
		}
	}
	return -1
}

// awaitEmpty returns when no worker is inside the closed job.
func (p *workers) awaitEmpty() {
	for start := time.Now(); !p.patienceEnds(start); spinPause() {
		if p.gate.Load()&gateInside == 0 {
			return
		}
	}
	p.waiting.Store(true)
	if p.gate.Load()&gateInside == 0 && p.waiting.CompareAndSwap(true, false) {
		return
	}
	<-p.done
}

// patienceEnds reports whether a thread that has been waiting awake since start is to
// park. One that parks may find itself, when it is woken, on the core of the thread that
// woke it, and Linux may leave both there for milliseconds while another core is idle.
func (p *workers) patienceEnds(start time.Time) bool {
	waited := time.Since(start)
	return waited > spinLimit && (waited > holdLimit || p.held.Load() == 0)
}

// serve is the life of worker i+1.
func (p *workers) serve(i int) {
	defer p.exited.Done()
	seen := uint64(0)
	for {
		g := p.awaitJob(&p.sleepers[i], seen)
		if p.quit.Load() {
			return
		}
		seen = g / gateJob
		if !p.enter(seen) {
			continue
		}
		p.work(i + 1)
		if g := p.gate.Add(^uint64(0)); g&(gateInside|gateOpen) == 0 {
			if p.waiting.CompareAndSwap(true, false) {
				p.done <- struct{}{}
			}
		}
	}
}

// enter joins job number n unless it has closed.
func (p *workers) enter(n uint64) bool {
	for {
		g := p.gate.Load()
		if g/gateJob != n || g&gateOpen == 0 {
			return false
		}
		if p.gate.CompareAndSwap(g, g+1) {
			return true
		}
	}
}

// awaitJob returns the gate once its job number is not seen: it spins, in Go
// code that the scheduler can preempt, then parks.
func (p *workers) awaitJob(s *sleeper, seen uint64) uint64 {
	for {
		for start := time.Now(); !p.patienceEnds(start); spinPause() {
			if g := p.gate.Load(); g/gateJob != seen {
				return g
			}
		}
		s.parked.Store(true)
		if g := p.gate.Load(); g/gateJob != seen && s.parked.CompareAndSwap(true, false) {
			return g
		}
		<-s.wake // whoever cleared parked has sent, or is about to
	}
}
