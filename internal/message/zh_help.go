package message

// entries is the whole catalogue.
func entries() []entry {
	var all []entry
	for _, part := range [][]entry{zhHelp[:], zhCommand[:], zhParser[:], zhModels[:], zhServer[:]} {
		all = append(all, part...)
	}
	return all
}

// zhHelp is what --help shows.
var zhHelp = [...]entry{
	{"Usage: %s", "用法：%s"},
	{"Tandem trains models and serves them, in one program.", "Tandem：用一个程序训练模型并提供服务。"},
	{"Arguments", "参数"},
	{"Flags", "选项"},
	{"Flags of every verb", "通用选项"},
	{"Verbs", "子命令"},
	{"Examples:", "示例："},
	{"[default: %s]", "[默认：%s]"},
	{"%s shows a verb's arguments and flags.", "%s 显示各命令的参数和选项。"},
	{"Start here", "从这里开始"},
	{"Models on this machine", "本机上的模型"},
	{"With a server", "与服务器配合"},

	{"Train, deploy and call a real model, end to end.", "完整演示：训练、部署并调用一个真实的模型。"},
	{"Serve models over the network.", "通过网络提供模型服务。"},
	{"Show the version.", "显示版本。"},
	{"Train a model.", "训练模型。"},
	{"List, show and compare training runs.", "列出、查看和比较训练记录。"},
	{"Run a model on pictures or tensors.", "用模型对图片或张量做推理。"},
	{"Send a model to the server as a new version.", "把模型作为新版本上传到服务器。"},
	{"Write a model as an ONNX file.", "把模型导出为 ONNX 文件。"},
	{"List, show and delete models on the server.", "列出、查看和删除服务器上的模型。"},
	{"Let a version of a model serve.", "部署模型的某个版本。"},
	{"Let the version serve that served before.", "回滚到之前部署的版本。"},
	{"List and end deployments.", "列出和结束部署。"},
	{"Create, list and revoke keys.", "创建、列出和吊销密钥。"},
	{"Show what was used, by day, key and model.", "按日期、密钥和模型显示用量。"},
	{"List models.", "列出模型。"},
	{"Show a model's versions, or one version.", "显示模型的所有版本，或其中一个版本。"},
	{"Delete a model, or one version of it.", "删除模型，或它的一个版本。"},
	{"List what serves.", "列出部署。"},
	{"End a deployment. The model stays.", "结束部署，模型保留。"},
	{"Make a key. Its secret is shown this once.", "创建密钥。密钥内容只显示这一次。"},
	{"List keys.", "列出密钥。"},
	{"End a key: from then on it is refused.", "吊销密钥：此后使用它的请求都会被拒绝。"},
	{"List runs.", "列出训练记录。"},
	{"Show a run: what it was told and how it went.", "显示一次训练的配置和结果。"},
	{"Show runs side by side.", "并排比较多次训练。"},

	{"URL of the server. Without it: the server that was last started by this user.", "服务器的 URL。缺省：本用户最近启动的服务器。"},
	{"Key to use. Without it: the one that the server's first start left for this user.", "使用的密钥。缺省：服务器首次启动时为本用户保存的密钥。"},
	{"Print one JSON object a line.", "每行输出一个 JSON 对象。"},
	{"Language of messages: en, zh, or auto for that of the environment.", "消息的语言：en、zh，或 auto（随环境变量）。"},
	{"Show help.", "显示帮助。"},

	{"Passes over the training set.", "训练轮次（遍历训练集的次数）。"},
	{"Seed: the same one gives the same weights.", "随机种子：种子相同，权重就相同。"},
	{"Use only the first N training examples: for a quick look.", "只用前 N 个训练样本，便于快速试用。"},
	{"Threads that compute. Without it: all processors.", "计算线程数。缺省：全部处理器。"},
	{"Leave data, run, exported model and a request in this directory.", "把数据、训练记录、导出的模型和请求示例保留在该目录。"},

	{"Directory for models, keys and records. Without it: $TANDEM_HOME, else tandem in the user's data folder.", "存放模型、密钥和记录的目录。缺省：$TANDEM_HOME，否则为用户数据目录下的 tandem。"},
	{"Address to listen on.", "监听地址。"},
	{"Ask for no keys. Only for addresses that no other machine can reach.", "不要求密钥。只能用于其他机器无法访问的地址。"},
	{"Memory that loaded models may take together, such as 4GiB. Without it: four fifths of the machine's.", "已加载模型合计可用的内存，如 4GiB。缺省：本机内存的五分之四。"},
	{"Largest request for inference, such as 64MiB.", "单个推理请求的最大字节数，如 64MiB。"},
	{"Rows that one run of a model computes.", "模型单次运行的最大批量（行数）。"},
	{"How long a request may wait for company while the model is idle, such as 2ms.", "模型空闲时，请求为凑成批次最多等待多久，如 2ms。"},
	{"Requests that wait for a model; one more is refused.", "每个模型排队的请求数上限，超出则拒绝。"},
	{"Rows that wait for a model, and the most rows of one request.", "每个模型排队的行数上限，也是单个请求的行数上限。"},
	{"Requests of one key that are answered at a time.", "同一密钥可同时处理的请求数。"},
	{"Runs of a model at the same time. Each of them uses all threads.", "同一模型可同时运行的次数，每次运行都使用全部线程。"},
	{"What to log to standard error: debug, info (every request), warn or error.", "写到标准错误的日志级别：debug、info（每个请求）、warn 或 error。"},

	{"File that describes the run; - is standard input. Flags stand above what it says.", "描述训练的文件；- 表示标准输入。命令行选项优先于文件内容。"},
	{"Kind of model, such as vision.", "模型家族，如 vision。"},
	{"What it is to do, such as classify.", "任务，如 classify。"},
	{"Folder of examples, or the name of a built-in set (mnist).", "样本所在目录，或内置数据集的名称（mnist）。"},
	{"Name of the run.", "训练的名称。"},
	{"Examples of one step.", "每步的样本数（批大小）。"},
	{"adam, adamw or sgd.", "adam、adamw 或 sgd。"},
	{"Learning rate.", "学习率。"},
	{"Directory of the run. Without it: runs/NAME-TIME.", "本次训练的目录。缺省：runs/名称-时间。"},
	{"Go on with the run in --out, from its last checkpoint.", "从最近的检查点继续 --out 中的训练。"},
	{"Threads that compute; the result does not depend on it. Without it: all processors.", "计算线程数，不影响结果。缺省：全部处理器。"},
	{"Show the keys of a spec with their defaults, and train nothing.", "显示训练配置的各项及默认值，不进行训练。"},

	{"Folder of runs.", "存放训练记录的目录。"},
	{"ID of the run, or its directory.", "训练的 ID 或目录。"},
	{"IDs of runs, or their directories.", "多次训练的 ID 或目录。"},

	{"Model that serves, or directory of a run or of a model.", "已部署的模型，或者训练目录、模型目录。"},
	{"Pictures (PNG, JPEG, GIF), or one request of the Open Inference Protocol in JSON; - is standard input. May be given more than once.", "图片（PNG、JPEG、GIF），或一个 JSON 格式的 Open Inference Protocol 请求；- 表示标准输入。可重复给出。"},
	{"File for the answer. Without it: standard output.", "保存结果的文件。缺省：标准输出。"},
	{"How many labels to show for a picture.", "每张图片显示的标签数。"},
	{"Threads that compute, for a model on this machine. Without it: all processors.", "本机模型的计算线程数。缺省：全部处理器。"},

	{"Directory of a run or of a model, or an .onnx file.", "训练目录、模型目录或 .onnx 文件。"},
	{"Name of the model on the server: a-z, 0-9, dot, underscore, hyphen.", "模型在服务器上的名称：a-z、0-9、点、下划线、连字符。"},
	{"Rows of an .onnx file's inputs are independent, so that requests can be joined.", "声明 .onnx 模型输入的各行相互独立，因而可以合并请求。"},
	{"Let the new version serve at once.", "立即部署新版本。"},
	{"Model on the server, or directory of a run or of a model.", "服务器上的模型，或者训练目录、模型目录。"},
	{"File to write.", "要写入的文件。"},

	{"The model, or a version of it.", "模型，或它的一个版本。"},
	{"The model. Without a version: its newest one.", "模型。不带版本号时取最新版本。"},
	{"The model.", "模型。"},
	{"Whose key it is, or what for.", "密钥的持有者或用途。"},
	{"What it may do: owner (everything), developer (models and deployments) or user (run models).", "权限：owner（全部）、developer（模型和部署）或 user（只能推理）。"},
	{"Make it in the data directory of a server that does not run: for whoever has lost all keys.", "在未运行的服务器的数据目录中直接创建，用于密钥全部丢失的情况。"},
	{"The key's ID, as tandem keys list shows it.", "密钥的 ID，见 tandem keys list。"},
	{"First day, in UTC, such as 2026-01-31. Without it: 30 days ago.", "起始日期（UTC），如 2026-01-31。缺省：30 天前。"},
	{"Last day, in UTC. Without it: today.", "结束日期（UTC）。缺省：今天。"},
}
