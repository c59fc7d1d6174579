"""Words of other programs, and what is written here instead.

They come from Lightning's Trainer, argparse scripts such as timm's, and other configs; the nearest of our own words by
its letters would be a wrong guess for them.
"""

import re

_DEVICES = (
    "write device=cuda, or device=cpu (which GPU: CUDA_VISIBLE_DEVICES=0 before the command); several processes train "
    "one run with trainer.devices=<number> trainer.strategy=ddp, or under torchrun or srun. Several settings at a time "
    "are a sweep, -m with hydra/launcher=joblib"
)
_WHOLE = (
    "each process has the whole student: write trainer.strategy=ddp; a script with a Trainer of its own takes any of "
    "Lightning's strategies (docs/lightning.md)"
)
_SHORT = "write debug=fast_dev_run (one step of every stage), or debug=limit (a part of each epoch)"
_GO_ON = (
    "a run that was stopped goes on when its command is given again with hydra.run.dir=<its folder>; to go on from "
    "another's checkpoint write ckpt_path=<run or .ckpt>, to start from weights student.weights=<file>"
)
_STOP = "write callbacks=[default,early_stopping] callbacks.early_stopping.patience=5"
_RUN_DIR = "write hydra.run.dir={value}"
_CONFIG = "write +experiment=<name>; a folder of experiments of your own is --config-dir=<folder>"
_LOADER = "images lie decoded in memory, and no worker processes load them: leave it out"
_TEACHER = "write teacher=timm teacher.name={value} teacher.checkpoint=<run or file>"
_STUDENT = "write student=timm student.name={value}"

# By the last part of a key, small letters, `-` as `_`; {value} is what was given.
_TABLE = (
    ("epochs num_epochs n_epochs max_epochs", "write trainer.max_epochs={value}"),
    (
        "max_steps max_time min_epochs min_steps limit_train_batches limit_val_batches limit_test_batches "
        "accumulate_grad_batches gradient_clip_algorithm val_check_interval check_val_every_n_epoch "
        "num_sanity_val_steps deterministic benchmark detect_anomaly overfit_batches profiler accelerator",
        "write trainer.{name}={value}",
    ),
    ("lr learning_rate base_lr", "write optimizer.lr={value}"),
    ("wd weight_decay", "write optimizer.weight_decay={value}"),
    ("momentum", "write optimizer=sgd optimizer.momentum={value}"),
    ("opt optim", "write optimizer={value}"),
    ("sched lr_scheduler", "write scheduler={value}"),
    ("batch_size bs b train_batch_size", "write dataset.batch_size={value}"),
    (
        "grad_accum_steps accum_iter grad_accum gradient_accumulation_steps",
        "write trainer.accumulate_grad_batches={value}",
    ),
    ("img_size image_size input_size imgsz resolution crop_size", "write dataset.image_size={value}"),
    ("num_classes n_classes nb_classes", "the data say how many classes there are: leave it out"),
    ("model arch net network backbone student_model model_s a", _STUDENT),
    ("teacher_model model_t teacher_name", _TEACHER),
    ("teacher_path path_t teacher_ckpt teacher_checkpoint", "write teacher.checkpoint={value}"),
    ("pretrained", "write student.weights=hub (timm's weights) or student.weights=<file>"),
    ("data datamodule dataset_name", "write dataset={value}"),
    ("data_dir data_path data_root root dataroot", "write dataset.root={value}"),
    ("t tau temp kd_t kd_temperature", "write loss.temperature={value}"),
    ("alpha kd_alpha", "write loss.alpha={value}"),
    ("loss_fn criterion kd_loss distill", "write loss={value}"),
    ("seed_everything random_seed seed", "write seed={value}"),
    (
        "gpus gpu devices num_gpus ngpu num_processes tpu_cores strategy num_nodes nnodes "
        "local_rank distributed world_size ddp",
        _DEVICES,
    ),
    ("device cuda cpu", "write device=cuda or device=cpu"),
    ("amp fp16 bf16 half precision", "write trainer.precision=16-mixed or bf16-mixed"),
    ("fast_dev_run debug dry_run smoke_test", _SHORT),
    ("subset max_samples", "write dataset.limit=<number of training images>"),
    ("resume resume_from_checkpoint resume_from auto_resume", _GO_ON),
    (
        "checkpoint ckpt load finetune init_weights",
        "write teacher.checkpoint={value} (of a teacher) or student.weights={value} (to start from)",
    ),
    ("clip_grad grad_clip clip_grad_norm max_grad_norm", "write trainer.gradient_clip_val={value}"),
    ("eval_interval", "write trainer.check_val_every_n_epoch={value}"),
    ("enable_progress_bar progress no_progress_bar", "write trainer.progress_bar=true or false"),
    ("log_interval log_every log_freq print_freq", "write trainer.log_every_n_steps={value}"),
    ("num_workers workers pin_memory j persistent_workers", _LOADER),
    ("output output_dir out o save_dir default_root_dir log_dir workdir", _RUN_DIR),
    ("exp_name run_name experiment_name task_name", "write name={value}"),
    ("experiment exp", "write +experiment={value}"),
    ("config cfg_file config_file conf", _CONFIG),
    ("notes", "write tags=[a,b]"),
    ("wandb use_wandb log_wandb", "write logger=wandb"),
    ("tensorboard use_tensorboard tb", "write logger=tensorboard"),
    ("early_stopping early_stop patience early_stopping_patience", _STOP),
    ("ema model_ema ema_decay", "write callbacks=[default,ema]"),
    ("freeze freeze_backbone linear_probe", "write student.trainable=head"),
    ("compile torch_compile torchcompile", "write trainer.tune=auto: it compiles where that is faster"),
    ("aug augmentation", "write dataset.augment.<key>=<value>, or dataset.augment=null"),
    (
        "transform transforms",
        "write dataset.transform=[...] of torchvision's v2 transforms, or dataset.augment.<key>=<value>",
    ),
    ("mixup_alpha", "write dataset.mixup={value}"),
    ("cutmix_alpha", "write dataset.cutmix={value}"),
    ("reprob random_erase random_erasing", "write dataset.augment.erase={value}"),
    ("randaugment rand_augment", "write dataset.augment.policy=rand"),
    ("trivialaugment trivial_augment ta_wide trivial_augment_wide", "write dataset.augment.policy=trivial"),
    ("smoothing label_smoothing", "write loss=label_smoothing"),
    ("warmup warmup_epochs warmup_steps", "write scheduler=warmup_cosine scheduler.warmup=<share of the run>"),
    ("layer_decay", "write optimizer.layer_decay={value}"),
    ("eval evaluate test test_only eval_only", "write python -m kdistill.evaluate run=<folder>"),
    ("train do_train", "python -m kdistill.train trains and then tests: leave it out"),
    ("sweep hparams_search", "write -m and several values: loss.temperature=2,4,8"),
)
KEYS = {word: text for words, text in _TABLE for word in words.split()}
# Whole words of a group or a choice: what is after the sign = is foreign.
WORDS = {
    r"device=(gpu|nvidia|cuda:?0|0|\[0\])": "write device=cuda",
    r"device=cuda:\d+": "write device=cuda, with CUDA_VISIBLE_DEVICES=<number> before the command",
    r"device=(mps|xpu|tpu|hpu|npu)": "training runs on cuda or cpu: write device=cpu",
    r"trainer\.precision=(16|fp16|half|16-true|amp)": "write trainer.precision=16-mixed",
    r"trainer\.precision=(bf16|bfloat16|bf16-true)": "write trainer.precision=bf16-mixed",
    r"trainer\.precision=(32|fp32|float32|full|64|64-true)": "write trainer.precision=32-true",
    r"trainer\.strategy=((fsdp|deepspeed|model_parallel)\w*)": _WHOLE,
    r"trainer=(gpu|cpu|mps|ddp|ddp_sim)": _DEVICES,
    r"logger=(tb|tensorboardlogger)": "write logger=tensorboard",
    r"logger=(true|wandblogger|w&b|weights_and_biases)": "write logger=wandb",
    r"logger=(false|null)": "metrics.csv is always written: write logger=csv",
    r"callbacks=(early_stop|earlystopping)": _STOP,
    r"loss=(cross_entropy|crossentropy|xent|nll)": "write loss=ce",
    r"loss=(kl|kldiv|kd_kl|soft|vanilla|hinton|distillation)": "write loss=kd",
    r"scheduler=(constant|null|off)": "write scheduler=none",
    r"scheduler=(cosineannealing\w*|cos|cosine_annealing)": "write scheduler=cosine",
    r"scheduler=(one_cycle|onecyclelr|1cycle)": "write scheduler=onecycle",
    r"scheduler=(steplr|multistep)": "write scheduler=step",
    r"scheduler=(reduce\w*)": "write scheduler=plateau",
    r"optimizer=(lamb|lars|lion|adan|adafactor|adopt|madgrad|radam|nadam|rmsprop|laprop|kron)": "write optimizer=timm "
    "optimizer.opt=<its name>",
    r"optimizer=(adam)": "write optimizer=adamw, or optimizer._target_=torch.optim.Adam",
}
# Sections of other programs, and those of ours in which a foreign key is looked for.
_SECTIONS = (
    *("", "training", "train", "config", "cfg", "args", "hparams", "hyp", "params", "model", "data"),
    *("trainer", "dataset", "logger", "loss"),
)


def advice(key: str, value: object = None) -> str | None:
    """What to write instead of a key of another program; None where the key is none that is known.

    Args:
        key: as it was given, with dashes or dots.
        value: what it was given, for the text.
    """
    section, _, name = key.lstrip("-+~").lower().replace("-", "_").rpartition(".")
    text = KEYS.get(name.removeprefix("no_")) if section in _SECTIONS else None
    shown = "<value>" if value in (None, "", True, False) else str(value)
    instead = text.replace("{value}", shown).replace("{name}", name) if text else None
    return None if instead is None or f"write {key}=" in f"{instead}=" else instead


def word_advice(key: str, value: object) -> str | None:
    """What to write instead of a foreign word for a key that is known."""
    given = f"{key}={value}".lower()
    return next((text for pattern, text in WORDS.items() if re.fullmatch(pattern, given)), None)
